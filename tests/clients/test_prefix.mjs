// SPDX-License-Identifier: Apache-2.0
// Headless Chromium: the console page below a prefix that a proxy puts before it, with and without a
// slash at its end, taken away by the proxy or not: the page finds its own socket beside itself.
import assert from "node:assert";
import { createServer, get } from "node:http";
import { connect } from "node:net";
import { chromium } from "playwright-core";
import { PATIENCE_MS, startBroker, until } from "../support/broker.mjs";

const PREFIX = "/tools/live";

// A proxy for the prefix alone; `strips`: what it hands on of an upgrade begins behind the prefix.
async function startProxy(broker, strips, asked) {
  const inner = (url) => url.slice(PREFIX.length) || "/";
  const proxy = createServer((request, response) => {
    if (!request.url.startsWith(PREFIX)) return response.writeHead(404).end("another's");
    get({ port: broker.port, path: inner(request.url), headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
  });
  proxy.on("upgrade", (request, socket, head) => {
    asked.push(request.url);
    if (!request.url.startsWith(PREFIX)) return socket.end("HTTP/1.1 404 another's\r\n\r\n");
    const back = connect(broker.port, "127.0.0.1", () => {
      const lines = [`GET ${strips ? inner(request.url) : request.url} HTTP/1.1`];
      for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(request.rawHeaders[i] + ": " + request.rawHeaders[i + 1]);
      back.write(lines.join("\r\n") + "\r\n\r\n");
      back.write(head);
      back.pipe(socket).pipe(back);
    });
    for (const end of [back, socket]) end.on("error", () => { back.destroy(); socket.destroy(); });
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return proxy;
}

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const broker = await startBroker(["--sys"]);
try {
  for (const strips of [true, false]) {
    for (const target of [PREFIX, PREFIX + "/"]) {
      const asked = [];
      const proxy = await startProxy(broker, strips, asked);
      const page = await browser.newPage();
      page.setDefaultTimeout(PATIENCE_MS);
      await page.goto(`http://localhost:${proxy.address().port}${target}`);
      await until("connected at " + target, async () => (await page.textContent("#state")) === "connected");
      assert.equal(asked[0], PREFIX + "/ws");
      await page.close();
      proxy.closeAllConnections();
      proxy.close();
    }
  }
} finally {
  await browser.close();
}
await broker.stop();
console.log("ok");
