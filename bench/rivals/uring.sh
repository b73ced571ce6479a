# Fanfare, with one worker and the flush by io_uring.
packages="" programs=build/release/bin/fanfared dialect=fanfare-json path=/ws
version() { echo "and with --flush uring"; }
start() { exec build/release/bin/fanfared --listen "127.0.0.1:$1" --workers 1 --flush uring; }
