// SPDX-License-Identifier: Apache-2.0
// ws.mjs PORT: what a publisher sends goes to all who listen to its topic.
import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(new URL("../../tests/package.json", import.meta.url))("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: false });
const topics = new Map();

server.on("connection", (socket, request) => {
  const query = new URL(request.url, "ws://localhost").searchParams;
  const listeners = topics.get(query.get("topic")) ?? new Set();
  topics.set(query.get("topic"), listeners);
  socket.on("error", () => {});
  if (!query.has("publish")) {
    listeners.add(socket);
    socket.on("close", () => listeners.delete(socket));
  }
  socket.on("message", (data) => {
    for (const listener of listeners) listener.send(data, { binary: false });
  });
});
