// SPDX-License-Identifier: Apache-2.0
// The real broker on a port of its own, for tests in Node.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import assert from "node:assert";

// Until what must come is given up: for hangs alone, however busy the machine is.
export const PATIENCE_MS = 1000 * (process.env.TEST_DEADLINE || 120);

export async function startBroker(args = [], port = 0) {
  const bin = process.env.TEST_BIN || new URL("../../build/dev/bin", import.meta.url).pathname;
  const child = spawn(`${bin}/fanfared`, ["--listen", `127.0.0.1:${port}`, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (chunk) => { log += chunk; });
  const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal })));
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    ended.then(() => reject(new Error("the broker did not start: " + log)));
  });
  const url = line.split(" ").at(-1);
  return {
    url,
    port: Number(new URL(url).port),
    async stop() {
      child.kill("SIGTERM");
      const { code } = await ended;
      assert.ok(!/AddressSanitizer|runtime error|LeakSanitizer/.test(log), log);
      assert.equal(code, 0, log);
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

// Waits until `look` answers something true; a deadline, not an assertion about time.
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error("waited in vain for: " + what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
