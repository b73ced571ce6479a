# uWebSockets, as it is inside of Bun's server: topics and broadcasting are its own C++.
packages="nodejs npm" modules=@oven/bun-linux-x64-baseline@1.4.5 dialect=raw
programs=build/rivals/node_modules/@oven/bun-linux-x64-baseline/bin/bun
version() { echo "uWebSockets in bun $("$programs" --version)"; }
start() { exec "$programs" bench/rivals/uws.mjs "$1"; }
