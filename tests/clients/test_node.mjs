// SPDX-License-Identifier: Apache-2.0
// npm ws (which offers permessage-deflate) and npm websocket in plain mode, beside each other and
// beside a typed client.
import assert from "node:assert";
import WebSocket from "ws";
import websocket from "websocket";
import { startBroker, until } from "../support/broker.mjs";

const broker = await startBroker();

function openWs(protocols) {
  const seen = [];
  const socket = new WebSocket(broker.url, protocols);
  socket.on("message", (data) => { const m = JSON.parse(data); if (m.type !== 1) seen.push(m); });
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () => resolve({ socket, seen }));
  });
}

function openWebsocket() {
  const seen = [];
  const client = new websocket.client();
  return new Promise((resolve, reject) => {
    client.on("connectFailed", reject);
    client.on("connect", (connection) => {
      connection.on("message", (data) => { const m = JSON.parse(data.utf8Data); if (m.type !== 1) seen.push(m); });
      resolve({ connection, seen });
    });
    client.connect(broker.url);
  });
}

const a = await openWs();
const b = await openWebsocket();
const typed = await openWs("fanfare.v1.json");
await until("WELCOME", () => typed.seen.some((m) => m.type === 4));
typed.socket.send(JSON.stringify({ type: 5, id: 1, topic: "lobby" }));
await until("ACK", () => typed.seen.some((m) => m.type === 8));

const saw = (client, message) => until(JSON.stringify(message), () =>
  client.seen.some((m) => m.type === 2 && JSON.stringify(m.message) === JSON.stringify(message)));

a.socket.send("from ws");
b.connection.sendUTF(JSON.stringify({ type: 2, message: "from websocket" }));
typed.socket.send(JSON.stringify({ type: 7, topic: "lobby", message: { from: "typed" } }));
for (const client of [a, b, typed]) {
  await saw(client, "from ws");
  await saw(client, "from websocket");
  await saw(client, { from: "typed" });
}
// It comes compressed to those who agreed to that, and goes so, too; what it says is the same.
for (const client of [a, typed])
  assert.match(client.socket.extensions, /^permessage-deflate/);
const octets = () => [a.socket._socket.bytesRead, b.connection.socket.bytesRead, a.socket._socket.bytesWritten];
const before = octets();
const big = "x".repeat(60000);
a.socket.send(JSON.stringify({ big }));
for (const client of [a, b, typed]) await saw(client, { big });
const [toWs, toWebsocket, fromWs] = octets().map((n, i) => n - before[i]);
assert.ok(toWs < 5000 && fromWs < 5000 && toWebsocket > 60000, `${[toWs, toWebsocket, fromWs]} octets`);
for (let i = 0; i < 200; i++) a.socket.send(`a message of its own, leaning on the last ones: ${i} `.repeat(100));
for (const client of [a, b, typed])
  await until("200 long ones", () => client.seen.filter((m) => /^a message of its own/.test(m.message)).length === 200);
for (const client of [a, typed]) {
  const long = client.seen.map((m) => m.message).filter((m) => /^a message of its own/.test(m));
  assert.deepEqual(long, long.map((_, i) => `a message of its own, leaning on the last ones: ${i} `.repeat(100)));
}
for (let i = 0; i < 500; i++) (i % 2 ? a.socket.send(String(i)) : b.connection.sendUTF(String(i)));
for (const client of [a, b, typed])
  await until("500 numbers", () => client.seen.filter((m) => typeof m.message === "number").length === 500);
for (const odd of [0, 1]) {
  const numbers = typed.seen.map((m) => m.message).filter((n) => typeof n === "number" && n % 2 === odd);
  assert.deepEqual(numbers, numbers.slice().sort((x, y) => x - y), "each sender's order holds");
}
const closed = new Promise((resolve) => a.socket.on("close", (code, reason) => resolve([code, String(reason)])));
a.socket.close(1000, "bye");
assert.deepEqual(await closed, [1000, "bye"]);
b.connection.close();
typed.socket.close();
await broker.stop();
console.log("ok");
