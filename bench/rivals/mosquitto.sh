# mosquitto, MQTT over WebSocket; nothing is stored, nothing is limited. It wants a listener of another kind, too.
packages=mosquitto programs=mosquitto dialect=mqtt
version() { mosquitto -h | sed -n '1s/ is an.*//;1s/ version//;1p'; }
start() {
    cat >"$2/conf" <<CONF
listener 0 $2/socket
listener $1
socket_domain ipv4
protocol websockets
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
max_connections -1
persistence false
log_type none
CONF
    exec mosquitto -c "$2/conf"
}
