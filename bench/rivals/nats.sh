# nats-server, its WebSocket listener; Go is given one core.
packages=nats-server programs=nats-server dialect=nats
version() { nats-server --version; }
start() {
    cat >"$2/conf" <<CONF
port: -1
websocket { host: "127.0.0.1", port: $1, no_tls: true, compression: false }
max_pending: 1GB
write_deadline: "60s"
ping_interval: "10m"
CONF
    GOMAXPROCS=1 exec nats-server -c "$2/conf" -l "$2/log"
}
