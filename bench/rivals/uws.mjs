// SPDX-License-Identifier: Apache-2.0
// uws.mjs PORT: what a publisher sends goes to all who listen to its topic. For bun.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const query = new URL(request.url).searchParams;
    const data = { topic: query.get("topic") ?? "", isPublisher: query.has("publish") };
    return server.upgrade(request, { data }) ? undefined : new Response("a WebSocket is wanted", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 1 << 24,
    backpressureLimit: 1 << 28,
    idleTimeout: 0,
    open(socket) {
      if (!socket.data.isPublisher) socket.subscribe(socket.data.topic);
    },
    message(socket, data) {
      server.publish(socket.data.topic, data);
    },
  },
});
