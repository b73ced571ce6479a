// SPDX-License-Identifier: Apache-2.0
// The client of docs/tutorials.md, word for word, behind a link that goes away for a while: every
// message, in order, once. TEST_LONG: for a minute. Then the broker goes, too, and it is told.
import assert from "node:assert";
import { readFileSync } from "node:fs";
import net from "node:net";
import WebSocket from "ws";
import { PATIENCE_MS, startBroker, until } from "../support/broker.mjs";

const away_ms = process.env.TEST_LONG ? 60000 : 3000;
const text = readFileSync(new URL("../../docs/tutorials.md", import.meta.url), "utf8");
const follow = new Function("WebSocket", text.match(/```js\n([^]*?)```/)[1] + "; return follow;")(WebSocket);

let broker = await startBroker();
const port = Number(new URL(broker.url).port);

// The link: while it is away what is under way is swallowed, and nobody hears of it.
const pairs = new Set();
let isAway = false;
const link = net.createServer((near) => {
  const far = net.connect(port, "127.0.0.1");
  const pair = { near, far };
  pairs.add(pair);
  near.on("data", (bytes) => isAway || pair.isLost || far.write(bytes));
  far.on("data", (bytes) => isAway || pair.isLost || near.write(bytes));
  for (const side of [near, far]) {
    side.on("error", () => {});
    side.on("close", () => { if (!isAway && !pair.isLost) { near.destroy(); far.destroy(); } });
  }
}).listen(0, "127.0.0.1");
await new Promise((resolve) => link.on("listening", resolve));

const seen = [], gaps = [];
follow(`ws://127.0.0.1:${link.address().port}/ws`, "room/1", (message) => seen.push(message), (gap) => gaps.push(gap));

const publisher = new WebSocket(broker.url, "fanfare.v1.json");
let acked = 0;
publisher.on("message", (data) => { acked += JSON.parse(data).type === 8; });
await new Promise((resolve) => publisher.on("open", resolve));
let sent = 0;
const publish = () => publisher.send(JSON.stringify({ type: 7, id: ++sent, topic: "room/1", message: [sent, "x".repeat(90)] }));
const beat = setInterval(publish, 100);
await until("first messages", () => seen.length > 5);
const first = seen[0][0];

isAway = true;
const before = sent;
await until("the time away is over", () => sent >= before + away_ms / 100);
for (const pair of pairs) { pair.isLost = true; pair.far.destroy(); } // the far side has given up long ago
isAway = false;
await until("what was said meanwhile", () => seen.length >= sent - first - 5);
clearInterval(beat);
await until("all is said", () => acked === sent);
await until("all is heard", () => seen.length === sent - first + 1);
assert.deepEqual(seen.map(([n]) => n), Array.from(seen, (_, i) => first + i), "every message, in order, once");
assert.deepEqual(gaps, []);

// Another life of the broker: what was kept is gone, and the client is told so.
publisher.terminate();
await broker.stop();
broker = await startBroker([], port);
await until("it is told", () => gaps.length > 0);
assert.equal(gaps[0].cause, "lost");
console.log(`ok ${seen.length} messages, ${away_ms} ms away, none missing; a restart is told`);
await broker.stop();
process.exit(0);
