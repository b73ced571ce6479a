# npm ws: the broadcast server of its own README, with topics.
packages="nodejs npm" programs="node tests/node_modules/ws/package.json" dialect=raw
version() { echo "npm ws $(sed -n 's/.*"version": "\(.*\)".*/\1/p' tests/node_modules/ws/package.json), node $(node --version)"; }
start() { exec node bench/rivals/ws.mjs "$1"; }
