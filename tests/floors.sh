#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The one law of the house: a file includes headers of its own floor or of floors below.
# And: each foreign library sits behind the files named here; protocol/ does no I/O.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
failed=0
floors="protocol/base protocol/websocket protocol/message broker/net broker/worker broker/redis broker/topic broker/engine broker/carrier broker/session broker/app"

wrong() { echo "floors: $*"; failed=1; }

below=""
for floor in $floors; do
    below="$below $floor"
    for file in "$floor"/*.[ch] "$floor"/*.def; do
        [ -f "$file" ] || continue
        for header in $(sed -n 's/^ *# *include "\([^"]*\)".*/\1/p' "$file"); do
            case " $below " in
            *" $(dirname "$header") "*) ;;
            *) wrong "$file includes $header, which is above it" ;;
            esac
        done
    done
done

# protocol/ -> clients/c -> clients/cli, and no word of the broker.
for file in clients/*/*.[ch]; do
    for header in $(sed -n 's/^ *# *include "\([^"]*\)".*/\1/p' "$file"); do
        case "$header" in
        protocol/* | clients/c/*) ;;
        clients/cli/*) case "$file" in clients/cli/*) ;; *) wrong "$file includes $header" ;; esac ;;
        *) wrong "$file includes $header" ;;
        esac
    done
done

# bench/ -> clients/c, protocol/, and the broker only where its parts are measured one by one.
for file in bench/*/*.[ch]; do
    for header in $(sed -n 's/^ *# *include "\([^"]*\)".*/\1/p' "$file"); do
        case "$header" in
        protocol/* | clients/c/* | "$(dirname "$file")"/*) ;;
        broker/*) case "$file" in bench/micro/*) ;; *) wrong "$file includes $header" ;; esac ;;
        *) wrong "$file includes $header" ;;
        esac
    done
done

only() { # HEADER-PATTERN FILE...: who may include it
    pattern=$1; shift
    for file in $(grep -lE "^ *# *include <$pattern" -r protocol broker clients bench 2>/dev/null); do
        case " $* " in *" $file "*) ;; *) wrong "$file includes <$pattern>, which belongs to $*" ;; esac
    done
}
only 'ev\.h>' broker/net/loop.h
only 'openssl/' broker/net/tls.c protocol/websocket/handshake.c broker/session/console.c clients/c/stream.c bench/load/hub.c
only 'msgpack' protocol/message/transcode.c
only 'zlib\.h>' protocol/websocket/zlib_memory.h
only 'hiredis/' broker/redis/reply.c
only 'confuse\.h>' broker/app/config_file.c
only '(sys/socket|netinet|unistd|time|sys/random|poll)' $(ls broker/*/*.[ch] clients/*/*.[ch] bench/*/*.[ch])

for word in malloc calloc realloc strcpy strcat sprintf strtok atoi gets alloca; do
    found=$(grep -nwE "$word *\(" -r protocol broker clients bench --include=*.c --include=*.h | grep -v '^protocol/base/mem\.c:')
    [ -z "$found" ] || wrong "$word is a banned word: $found"
done
[ "$failed" = 0 ] && echo "floors: every include points down"
exit "$failed"
