# Fanfare, with one worker.
packages="" programs=build/release/bin/fanfared dialect=fanfare-json path=/ws
version() { build/release/bin/fanfared --version; }
start() { exec build/release/bin/fanfared --listen "127.0.0.1:$1" --workers 1; }
