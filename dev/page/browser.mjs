// Drives a headless Chromium over its DevTools pipe, without a package or a port.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The command of an installed Chromium, or null. */
export function findChromium() {
  const names = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"].filter(Boolean);
  return names.find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0) ?? null;
}

export class Browser {
  static async launch(chromium = findChromium()) {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), "meno-page-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe", `--user-data-dir=${browser.profile}`];
    browser.process = spawn(chromium, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    [browser.input, browser.output] = [browser.process.stdio[3], browser.process.stdio[4]];
    Object.assign(browser, { next: 1, waiting: new Map(), listeners: [], rest: "" });
    browser.output.setEncoding("utf8");
    browser.output.on("data", (text) => browser.receive(text));
    return browser;
  }

  receive(text) {
    const messages = (this.rest + text).split("\0");
    this.rest = messages.pop();
    for (const message of messages.map((m) => JSON.parse(m))) {
      const waiting = this.waiting.get(message.id);
      if (!waiting) {
        for (const listener of this.listeners) listener(message);
        continue;
      }
      this.waiting.delete(message.id);
      if (message.error) waiting.reject(new Error(message.error.message));
      else waiting.resolve(message.result);
    }
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.next++;
    this.input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  /** Opens a tab with separate storage or, with `beside`, with the storage of another page. */
  async page({ width = 1280, height = 800, phone = false, dark = false, beside = null } = {}) {
    const browserContextId = beside?.context ?? (await this.send("Target.createBrowserContext")).browserContextId;
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    Object.assign(page, { target: targetId, context: browserContextId });
    this.listeners.push((message) => message.sessionId === sessionId && page.record(message));
    await Promise.all(["Page", "Runtime", "Network", "Log"].map((domain) => page.send(`${domain}.enable`)));
    await page.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: phone ? 2 : 1, mobile: phone });
    if (phone) await page.send("Emulation.setTouchEmulationEnabled", { enabled: true });
    await page.colours(dark);
    await this.send("Browser.grantPermissions", { permissions: ["clipboardReadWrite", "clipboardSanitizedWrite"], browserContextId });
    return page;
  }

  async close() {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.send("Browser.close").catch(() => {});
    await ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Page {
  constructor(browser, session) {
    Object.assign(this, { browser, session, complaints: [], requests: [] });
  }

  send(method, params) {
    return this.browser.send(method, params, this.session);
  }

  // Records exceptions, logged errors (such as violations of the policy) and requests.
  record({ method, params }) {
    if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Log.entryAdded" && params.entry.level === "error" && params.entry.source !== "network") this.complaints.push(params.entry.text);
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
  }

  colours(dark) {
    return this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
  }

  async goto(url) {
    await this.send("Page.navigate", { url });
    await this.until("document.documentElement.dataset.ready === 'true'");
  }

  async reload() {
    await this.send("Page.reload");
    await this.until("performance.now() < 60000 && document.documentElement.dataset.ready === 'true'");
  }

  /** Brings the tab to the front; background tabs are not drawn. */
  front() {
    return this.send("Page.bringToFront");
  }

  /** Closes the tab. */
  async close() {
    await this.browser.send("Target.closeTarget", { targetId: this.target });
  }

  /** Chooses files in a file input. */
  async choose(selector, files) {
    const { root } = await this.send("DOM.getDocument");
    const { nodeId } = await this.send("DOM.querySelector", { nodeId: root.nodeId, selector });
    await this.send("DOM.setFileInputFiles", { nodeId, files });
  }

  async eval(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression is truthy and returns its value. */
  async until(expression, ms = 20_000) {
    const end = Date.now() + ms;
    for (;;) {
      const value = await this.eval(expression).catch(() => false);
      if (value) return value;
      if (Date.now() > end) throw new Error(`this did not come true within ${ms} ms: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  }

  async click(selector) {
    const at = await this.until(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)});
      if (!element || element.disabled) return null;
      element.scrollIntoView({ block: "nearest" });
      const box = element.getBoundingClientRect();
      return box.width ? { x: box.x + box.width / 2, y: box.y + box.height / 2 } : null;
    })()`);
    for (const type of ["mouseMoved", "mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, ...at, button: type === "mouseMoved" ? "none" : "left", clickCount: 1 });
    }
  }

  type(text) {
    return this.send("Input.insertText", { text });
  }

  async press(key, { ctrl = false, shift = false } = {}) {
    const codes = { Enter: 13, Escape: 27, ArrowUp: 38, ArrowDown: 40, "/": 191 };
    const event = {
      key, code: key.length === 1 && key !== "/" ? `Key${key.toUpperCase()}` : key === "/" ? "Slash" : key,
      windowsVirtualKeyCode: codes[key] ?? key.toUpperCase().charCodeAt(0), modifiers: (ctrl ? 2 : 0) + (shift ? 8 : 0),
      text: key === "Enter" ? "\r" : key.length === 1 && !ctrl ? key : undefined,
    };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...event });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  async screenshot(path) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    writeFileSync(path, Buffer.from(data, "base64"));
  }
}
