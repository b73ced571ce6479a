# nginx with nchan: one process, messages kept no longer than they must be.
packages="nginx-light libnginx-mod-nchan" programs=nginx dialect=nchan
version() { nginx -v 2>&1 | sed 's/.*nginx./nginx /'; }
start() {
    cat >"$2/conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
pid $2/pid; error_log $2/log;
events { worker_connections 19000; }
http {
    access_log off; tcp_nodelay on; nchan_shared_memory_size 512M;
    client_body_temp_path $2/a; proxy_temp_path $2/b; fastcgi_temp_path $2/c; uwsgi_temp_path $2/d; scgi_temp_path $2/e;
    server {
        listen 127.0.0.1:$1;
        location ~ /sub/(.+)\$ { nchan_subscriber websocket; nchan_channel_id \$1; nchan_subscriber_first_message newest; }
        location ~ /pub/(.+)\$ { nchan_publisher websocket; nchan_channel_id \$1; nchan_message_buffer_length 2000; nchan_message_timeout 5s; }
    }
}
CONF
    exec nginx -p "$2" -c "$2/conf"
}
