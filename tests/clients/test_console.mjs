// SPDX-License-Identifier: Apache-2.0
// The console page in headless Chromium: what it shows, what it asks for, what it keeps, and that no
// flood of messages is too much for it. Frame times are printed, never asserted.
// TEST_PICTURES=DIR makes the pictures of docs/pictures.
import assert from "node:assert";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";
import WebSocket from "ws";
import { PATIENCE_MS, startBroker, until } from "../support/broker.mjs";

const pictures = process.env.TEST_PICTURES;

/** A typed client; ask() resolves with the answer. */
async function client(port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, "fanfare.v1.json");
  const waiting = new Map(), requests = [];
  let id = 0;
  socket.on("message", (text) => {
    const m = JSON.parse(text);
    waiting.get(m.id)?.(m);
    waiting.delete(m.id);
  });
  await new Promise((resolve, reject) => { socket.once("open", resolve); socket.once("error", reject); });
  return {
    socket, requests,
    send: (message) => socket.send(JSON.stringify(message)),
    ask: (message) => new Promise((resolve) => { waiting.set(++id, resolve); socket.send(JSON.stringify({ ...message, id })); }),
    close: () => socket.close(),
  };
}

async function open(browser, port, options = {}) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 1000 }, ...options })).newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.violations = [];
  page.sent = [];
  page.on("console", (message) => { if (message.type() === "error" && /Content Security/.test(message.text())) page.violations.push(message.text()); });
  page.on("pageerror", (why) => page.violations.push(String(why)));
  page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => page.sent.push(JSON.parse(payload))));
  await page.goto(`http://127.0.0.1:${port}/`);
  await until("connected", async () => (await page.textContent("#state")) === "connected");
  return page;
}

const rows = (page) => page.locator("#messages li:not(.hidden):not(#hint)").allTextContents();
const shows = (page, selector, what) => until(`${what} in ${selector}`, async () => what.test(await page.textContent(selector)));
const receivers = (speaker, topic, count) => until(`${count} on ${topic}`, async () =>
  (await speaker.ask({ type: 7, topic, message: "warm-up" })).receivers >= count);

async function whatItShows(browser, broker) {
  const page = await open(browser, broker.port), ada = await client(broker.port);
  await shows(page, "#hint", /Nothing here yet.*fanfare pub lobby 'Hello'/);
  await receivers(ada, "lobby", 1);
  await shows(page, "#messages", /warm-up/);
  assert.equal(await page.locator("#hint").count(), 0);
  assert.match((await rows(page))[0], /^\d\d:\d\d:\d\d\.\d{3}lobby/, "each has its time");

  // JSON in one line or many, for all or for one; text, never HTML.
  await ada.ask({ type: 7, topic: "lobby", message: { a: { b: [1, 2] } } });
  await shows(page, "#messages", /\{"a":\{"b":\[1,2\]\}\}/);
  await page.locator("#messages li.json").click();
  await shows(page, "#messages", /\{\n  "a": \{\n    "b": \[/);
  await page.locator("#messages li.json").click();
  await shows(page, "#messages", /\{"a":\{"b"/);
  await page.check("#pretty");
  await shows(page, "#messages", /\{\n  "a"/);
  await page.uncheck("#pretty");
  for (const evil of ["<img src=x onerror='document.title=1'>", { "<script>document.title=2</script>": "<b>x</b>" }]) await ada.ask({ type: 7, topic: "lobby", message: evil });
  await ada.ask({ type: 7, topic: "lobby/<i>x", message: 1 });
  await shows(page, "#messages", /<b>x<\/b>/);
  assert.equal(await page.locator("#messages img, #messages script, #messages i").count(), 0);
  assert.equal(await page.title(), "Fanfare console");

  // Search.
  await page.fill("#search", "ONERROR");
  assert.equal((await rows(page)).length, 1);
  await ada.ask({ type: 7, topic: "lobby", message: "not sought" });
  await ada.ask({ type: 7, topic: "lobby", message: "another onerror" });
  await until("the second that is sought", async () => (await rows(page)).length === 2);
  await page.fill("#search", "");
  await shows(page, "#messages", /not sought/);

  // Pause: nothing moves, nothing is lost.
  const before = (await rows(page)).length;
  await page.click("#pause");
  for (let i = 0; i < 7; i++) await ada.ask({ type: 7, topic: "lobby", message: "while paused " + i });
  await shows(page, "#count", /paused, 7 waiting/);
  assert.equal((await rows(page)).length, before);
  await page.click("#pause");
  await until("all that waited", async () => (await rows(page)).length === before + 7);
  assert.match((await rows(page)).at(-1), /while paused 6/);

  // What was published, and to how many.
  await page.fill("#to", "lobby");
  await page.fill("#text", "to whom?");
  await page.click("#publish button");
  await shows(page, "#published", /published to lobby: 1 subscription received it/);
  await page.fill("#to", "nobody/here");
  await page.fill("#text", "1");
  await page.click("#publish button");
  await shows(page, "#published", /nobody received it/);

  // Errors stay until they were read; the same one again is counted.
  for (let i = 0; i < 3; i++) {
    await page.fill("#to", "a/#");
    await page.fill("#text", "x");
    await page.click("#publish button");
  }
  await shows(page, "#errors", /a filter is for listening.*×3/);
  await page.click("#clear");
  assert.equal(await page.locator("#errors li").count(), 1);
  await page.click("#errors button");
  assert.equal(await page.locator("#errors li").count(), 0);
  assert.equal((await page.request.get(`http://127.0.0.1:${broker.port}/favicon.ico`)).headers()["content-type"], "image/svg+xml; charset=utf-8");
  assert.deepEqual(page.violations, []);
  ada.close();
  await page.context().close();
}

async function whatItAsksFor(browser, broker) {
  const page = await open(browser, broker.port), ada = await client(broker.port);
  const subscribed = (topic) => page.sent.filter((m) => m.type === 5 && m.topic === topic).map(({ id, ...rest }) => rest);
  await page.click("#how summary");
  await page.selectOption("#overflow", "latest");
  await page.fill("#perSecond", "2.5");
  await page.fill("#octets", "65536");
  await page.uncheck("#echo");
  await page.fill("#topic", "room/1");
  await page.click("#subscribe button");
  await until("its chip", async () => /room\/1.*latest.*2\.5.*no echo/.test(await page.textContent("#topics")));
  assert.deepEqual(subscribed("room/1"), [{ type: 5, topic: "room/1", overflow: "latest", rate: 2.5, echo: false, buffered: 65536 }]);
  await receivers(ada, "room/1", 1);
  await page.fill("#to", "room/1");
  await page.fill("#text", "my own");
  await page.click("#publish button");
  await shows(page, "#published", /published to room\/1/);
  await ada.ask({ type: 7, topic: "room/1", message: "another's" });
  await shows(page, "#messages", /another's/);
  assert.ok(!/my own/.test(await page.textContent("#messages")), "no echo was asked for");
  // The same options after a reload.
  await page.reload();
  await until("asked again", () => subscribed("room/1").length === 2);
  assert.deepEqual(subscribed("room/1")[1], subscribed("room/1")[0]);

  // $SYS: the busiest, the slowest, and the uptime for people.
  await until("the busiest", async () => (await page.locator("#busiest tbody tr").count()) > 0);
  await shows(page, "#nobody", /Nobody is behind/);
  await shows(page, "#broker", /Up(\d+ (d|h|min) )?\d+ (h|min|s)/);
  const slow = await client(broker.port);
  await slow.ask({ type: 5, topic: "flood" });
  slow.socket.pause();
  for (let i = 0; i < 60; i++) // noise: it reads compressed messages
    await ada.ask({ type: 7, topic: "flood", message: randomBytes(45000).toString("base64") });
  await shows(page, "#slow tbody", /flood.*skip.*MiB/);
  slow.socket.terminate();
  await until("the chart's axis", async () => Number((await page.textContent("#top")).replace(/\D/g, "")) >= 1);
  assert.ok((await page.locator("#chart polyline").getAttribute("points")).length > 100);

  // A long topic wraps in a narrow window.
  await page.setViewportSize({ width: 375, height: 800 });
  await page.fill("#topic", "a-very-long-topic-without-a-place-to-break".repeat(5));
  await page.click("#subscribe button");
  await until("three topics", async () => (await page.locator("#topics li").count()) === 3);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "no sideways scroll");
  assert.deepEqual(page.violations, []);
  ada.close();
  await page.context().close();
}

/** Members by the names that they gave, as they come and go; of what has no presence nothing is shown. */
async function whoIsThere(browser) {
  const config = join(mkdtempSync(join(tmpdir(), "console-")), "rooms.conf");
  writeFileSync(config, 'topic "room/#" { presence = on }\n');
  const broker = await startBroker(["--config", config]);
  const page = await open(browser, broker.port), ada = await client(broker.port), bob = await client(broker.port);
  await ada.ask({ type: 3, user: "ada" });
  await bob.ask({ type: 3, user: "<b>bob</b>" });
  await ada.ask({ type: 5, topic: "room/1" });
  assert.ok(await page.locator("#here").isHidden(), "lobby has no presence here");
  await page.fill("#topic", "room/1");
  await page.click("#subscribe button");
  await shows(page, "#rooms", /^room\/1 {2}2: [0-9a-f]{8}…, ada$/);
  await bob.ask({ type: 5, topic: "room/1" });
  await shows(page, "#rooms", /^room\/1 {2}3: [0-9a-f]{8}…, ada, <b>bob<\/b>$/);
  ada.close();
  await shows(page, "#rooms", /^room\/1 {2}2: [0-9a-f]{8}…, <b>bob<\/b>$/);
  await page.reload();
  await shows(page, "#rooms", /^room\/1 {2}2: .*<b>bob<\/b>/);
  await page.click("[aria-label='Unsubscribe from room/1']");
  await until("nobody is shown", () => page.locator("#here").isHidden());
  assert.deepEqual(page.violations, []);
  bob.close();
  await page.context().close();
  await broker.stop();
  rmSync(dirname(config), { recursive: true });
}

async function whatItSaysWhenAway(browser) {
  let broker = await startBroker(["--sys"]);
  const page = await open(browser, broker.port);
  await shows(page, "#broker", /Connections/);
  assert.ok(!(await page.evaluate(() => document.body.classList.contains("away"))));
  await broker.kill();
  await shows(page, "#state", /closed with 1006|connecting/);
  await shows(page, "#likely", /Likely: the broker was killed|Likely: no broker runs there/);
  assert.ok(await page.evaluate(() => document.body.classList.contains("away")), "stale figures are grey");
  await shows(page, "#likely", /Likely: no broker runs there, the address is wrong, or it refuses pages from http:/);
  broker = await startBroker(["--sys"], broker.port);
  await until("connected again", async () => (await page.textContent("#state")) === "connected");
  assert.ok(await page.locator("#likely").isHidden());
  assert.ok(!(await page.evaluate(() => document.body.classList.contains("away"))));
  await page.context().close();
  await broker.stop();
}

/** So many messages a second for some seconds: all are counted, as received or as missed, the page stays small, the newest is shown. */
async function floods(browser, broker, perSecond, seconds) {
  const page = await open(browser, broker.port), ada = await client(broker.port), total = perSecond * seconds;
  await receivers(ada, "lobby", 1);
  await page.evaluate(() => {
    window.frames_ms = [];
    window.most = 0;
    let last = performance.now();
    const look = (now) => {
      window.frames_ms.push(now - last);
      last = now;
      window.most = Math.max(window.most, document.querySelectorAll("#messages > li").length);
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
    window.tasks_ms = [];
    new PerformanceObserver((list) => window.tasks_ms.push(...list.getEntries().map((entry) => entry.duration))).observe({ entryTypes: ["longtask"] });
  });
  const figure = async (id) => Number((await page.textContent(id)).replace(/\D/g, ""));
  const count = async () => await figure("#received") + await figure("#missed"); // a page without a processor is a slow reader: it is told
  await until("the one that it received", async () => (await count()) > 0);
  const before = 1;
  const began = Date.now();
  for (let sent = 0; sent < total;) {
    const due = Math.min(total, Math.floor((Date.now() - began) * perSecond / 1000));
    for (; sent < due; sent++) ada.send({ type: 7, topic: "lobby", message: { n: sent, from: "a sensor", values: [sent / 7, sent / 11], text: "as messages are" } });
    await new Promise((resolve) => setTimeout(resolve, 4));
  }
  await until("all were counted", async () => (await count()) === before + total);
  await shows(page, "#messages li:last-child", new RegExp(`"n":${total - 1}\\b`));
  const { frames, tasks, most } = await page.evaluate(() => ({ frames: window.frames_ms, tasks: window.tasks_ms, most: window.most }));
  assert.ok(most <= 500, "the list stays small: " + most);
  assert.match(await page.textContent("#count"), new RegExp((await figure("#received")).toLocaleString("en-US") + " received"));
  frames.sort((a, b) => a - b);
  const at = (share) => frames[Math.floor((frames.length - 1) * share)].toFixed(1);
  console.log(`${perSecond} a second: ${frames.length} frames, median ${at(0.5)} ms, 99 % ${at(0.99)} ms, longest ${at(1)} ms; ` +
    `tasks over 50 ms: ${tasks.length}${tasks.length ? ", longest " + Math.max(...tasks).toFixed(0) + " ms" : ""}; ${await page.textContent("#count")}`);
  assert.deepEqual(page.violations, []);
  ada.close();
  await page.context().close();
}

async function takePictures(browser, broker) {
  const page = await open(browser, broker.port, { locale: "en-GB" }), ada = await client(broker.port), slow = await client(broker.port);
  for (const topic of ["room/#", "prices/+"]) {
    await page.fill("#topic", topic);
    await page.click("#subscribe button");
  }
  await slow.ask({ type: 5, topic: "camera/1" });
  slow.socket.pause();
  for (let i = 0; i < 80; i++) await ada.ask({ type: 7, topic: "camera/1", message: "x".repeat(60000) });
  const names = ["Ada", "Bob", "Cleo"], texts = ["Good morning!", "The door is open.", "Did the lights come on?", "They did, at six."], watching = [];
  for (const topic of ["prices/tea", "prices/salt"]) { const w = await client(broker.port); await w.ask({ type: 5, topic }); watching.push(w); }
  for (let i = 0; i < 220; i++) {
    const busy = 1 + Math.round(2 + 2 * Math.sin(i / 25));
    for (let k = 0; k < busy; k++) ada.send({ type: 7, topic: "prices/" + (k % 2 ? "tea" : "salt"), message: { price: Math.round(1000 + 40 * Math.sin(i / 9 + k)) / 100, at: i } });
    if (i % 40 === 7) await ada.ask({ type: 7, topic: "room/1", message: { from: names[(i / 40 | 0) % 3], text: texts[(i / 40 | 0) % 4] } });
    if (i === 212) {
      await page.fill("#to", "room/1");
      await page.fill("#text", '{"from":"Ada","text":"Hello from the console"}');
      await page.click("#publish button");
    }
    await page.waitForTimeout(150);
  }
  await page.screenshot({ path: `${pictures}/console.png` });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${pictures}/console-dark.png` });
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 375, height: 812 });
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${pictures}/console-narrow.png`, fullPage: true });
  for (const one of [ada, ...watching]) one.close();
  slow.socket.terminate();
  await page.context().close();
}

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-US"],
});
const broker = await startBroker(["--sys"]);
try {
  if (pictures) {
    await takePictures(browser, broker);
  } else {
    await whatItShows(browser, broker);
    await whatItAsksFor(browser, broker);
    await whoIsThere(browser);
    await whatItSaysWhenAway(browser);
    await floods(browser, broker, 1000, 5);
    await floods(browser, broker, 5000, 5);
  }
} finally {
  await browser.close();
}
await broker.stop();
console.log("ok");
