// SPDX-License-Identifier: Apache-2.0
// Headless Chromium: the console page, two tabs that chat, a reload, a kill -9 of the broker, and
// the hand-written clients of tutorials, unchanged.
import assert from "node:assert";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";
import { PATIENCE_MS, startBroker, until } from "../support/broker.mjs";

const texts = (page) => page.locator("#messages li").allTextContents();
const items = (page) => page.locator("#list li").allTextContents();
const sees = (page, text) => until(`"${text}" in the console`, async () => (await texts(page)).some((one) => one.includes(text)));
const has = (page, text) => until(`"${text}" in the list`, async () => (await items(page)).some((one) => one.includes(text)));

async function publish(page, topic, text) {
  await page.fill("#to", topic);
  await page.fill("#text", text);
  await page.click("#publish button");
}

async function subscribe(page, topic) {
  await page.fill("#topic", topic);
  await page.click("#subscribe button");
}

async function consoleTabs(browser, state) {
  const violations = [];
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
  context.setDefaultTimeout(PATIENCE_MS);
  const open = async () => {
    const page = await context.newPage();
    page.on("console", (message) => { if (message.type() === "error" && /Content Security/.test(message.text())) violations.push(message.text()); });
    page.on("pageerror", (why) => violations.push(String(why)));
    await page.goto(`http://127.0.0.1:${state.broker.port}/`);
    await until("connected", async () => (await page.textContent("#state")) === "connected");
    return page;
  };
  const ada = await open(), bob = await open();

  await subscribe(ada, "room/1");
  await subscribe(bob, "room/#");
  await until("both subscribed", async () => (await bob.locator("#topics li").count()) === 2);
  await publish(ada, "room/1", "hello from Ada");
  await sees(ada, "hello from Ada");
  await sees(bob, "hello from Ada");
  await publish(bob, "room/1", '{"from":"Bob","n":1}');
  await sees(ada, '{"from":"Bob","n":1}');

  // Text, never HTML.
  await publish(bob, "room/1", '<img src=x onerror="document.title=1"><b>bold</b>');
  await sees(ada, "<b>bold</b>");
  assert.equal(await ada.locator("#messages img").count(), 0);
  assert.equal(await ada.title(), "Fanfare console");

  // Figures from $SYS, the chart and the connection's own bufferedAmount.
  await until("the busiest topics", async () => (await ada.locator("#busiest tbody tr").count()) > 0);
  await until("the chart", async () => (await ada.locator("#chart polyline").getAttribute("points")).length > 50);
  await until("bufferedAmount", async () => /B$/.test(await ada.textContent("#buffered")));

  // An error says what is wrong.
  await publish(ada, "room/#", "x");
  await until("the error", async () => /a filter is for listening/.test(await ada.textContent("#errors")));

  // A reload keeps the topics.
  await ada.reload();
  await until("connected again", async () => (await ada.textContent("#state")) === "connected");
  await publish(bob, "room/1", "after the reload");
  await sees(ada, "after the reload");

  // kill -9 and a restart: both come back by themselves.
  await state.broker.kill();
  await until("the loss is shown", async () => /trying again|connecting/.test(await bob.textContent("#state")));
  state.broker = await startBroker(["--sys"], state.broker.port);
  for (const page of [ada, bob]) await until("connected after the restart", async () => (await page.textContent("#state")) === "connected");
  await publish(ada, "room/1", "after the restart");
  await sees(bob, "after the restart");

  // A narrow window has no sideways scroll.
  await bob.setViewportSize({ width: 360, height: 700 });
  assert.ok(await bob.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  assert.deepEqual(violations, []);
  await context.close();
}

async function sysOff(browser) {
  const broker = await startBroker();
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`http://127.0.0.1:${broker.port}/`);
  await until("how to turn figures on", async () => /--sys/.test(await page.textContent("#sys")));
  await page.close();
  await broker.stop();
}

async function tutorials(browser, state, pages) {
  const url = () => `ws://127.0.0.1:${state.broker.port}/ws`;
  const open = async (name) => {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(`http://localhost:${pages.address().port}/${name}.html#${url()}`);
    return page;
  };
  const hello = await open("hello");
  await has(hello, '"message":"Hi"');
  const beat = await open("heartbeat");
  const again = await open("reconnect");
  await until("open", () => again.evaluate(() => window.opened === 1));
  await beat.evaluate(() => window.say("to all"));
  for (const page of [hello, beat, again]) await has(page, "to all");
  assert.match(await hello.evaluate(() => window.ws.extensions), /^permessage-deflate/);
  const long = Array.from({ length: 3000 }, (_, i) => `line ${i % 10}`).join(" ");
  for (const n of [1, 2, 3]) { // compressed both ways, each leaning on the one before
    await hello.evaluate((text) => window.ws.send(text), `${n}: ${long}`);
    for (const page of [hello, beat, again]) await has(page, `${n}: ${long}`);
  }
  await hello.evaluate(() => window.ws.send("plain text"));
  for (const page of [beat, again]) await has(page, "plain text");
  await until("heartbeats are answered", () => beat.evaluate(() => window.beats >= 2));
  assert.ok(!(await items(beat)).some((one) => /type/.test(one)), "a heartbeat is not shown");
  await hello.evaluate(() => window.ws.send(new Blob(["octets"])));
  await has(hello, '"data":"b2N0ZXRz"');
  await hello.evaluate(() => window.ws.close(1000, "bye"));
  await until("a clean close", async () => (await hello.title()) === "closed 1000 true");

  await state.broker.kill();
  await until("it has noticed", () => again.evaluate("ws.readyState !== WebSocket.OPEN"));
  await again.evaluate(() => window.say("queued while away"));
  state.broker = await startBroker(["--sys"], state.broker.port);
  await until("it came back", () => again.evaluate(() => window.opened >= 2));
  await has(again, "queued while away");
}

const pages = createServer(async (request, response) => {
  try {
    const file = new URL("pages" + new URL(request.url, "http://x").pathname, import.meta.url);
    response.setHeader("Content-Type", "text/html");
    response.end(await readFile(file));
  } catch {
    response.statusCode = 404;
    response.end();
  }
});
await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const state = { broker: await startBroker(["--sys"]) };
try {
  await consoleTabs(browser, state);
  await sysOff(browser);
  await tutorials(browser, state, pages);
} finally {
  await browser.close();
  pages.close();
}
await state.broker.stop();
console.log("ok");
