// Starts `meno serve` with a small model, for the tests of the page.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The program: $MENO, or target/release/meno, or target/debug/meno, or null. */
export function findMeno() {
  return [process.env.MENO, `${root}target/release/meno`, `${root}target/debug/meno`].filter(Boolean).find(existsSync) ?? null;
}

/** The path of a model that thinks: $MENO_MODEL, or the miniature R1 of `meno replicate --preset smoke`, made once. */
export function smallModel(meno) {
  if (process.env.MENO_MODEL) return process.env.MENO_MODEL;
  const out = `${root}runs/page`;
  if (!existsSync(`${out}/report.json`)) {
    // Test files may run in parallel: each makes its own model, the first to finish wins.
    const own = `${out}-${process.pid}`;
    const run = spawnSync(meno, ["replicate", "--preset", "smoke", "--plain", "--out", own], { stdio: ["ignore", "ignore", "inherit"] });
    if (run.status !== 0) throw new Error(`meno replicate ended with ${run.status}`);
    try {
      renameSync(own, out);
    } catch (error) {
      rmSync(own, { recursive: true });
      if (!existsSync(`${out}/report.json`)) throw error;
    }
  }
  return `${out}/r1`;
}

/** A checkpoint that writes prose: $MENO_CHECKPOINT, or Qwen2.5-Coder-0.5B in the cache, or null. */
export function checkpoint() {
  const names = [process.env.MENO_CHECKPOINT, `${homedir()}/.cache/meno/dev-models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf`];
  return names.filter(Boolean).find(existsSync) ?? null;
}

export class Server {
  static async start(meno, model, { port = 20_000 + Math.floor(Math.random() * 20_000), args = [] } = {}) {
    const server = new Server();
    Object.assign(server, { url: `http://127.0.0.1:${port}/`, port, said: "" });
    server.process = spawn(meno, ["serve", "-m", model, "--port", String(port), ...args], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [server.process.stdout, server.process.stderr]) stream.on("data", (text) => (server.said += text));
    for (let tries = 0; tries < 600; tries += 1) {
      if (server.process.exitCode !== null) throw new Error(`meno serve ended: ${server.said}`);
      const answer = await fetch(`${server.url}health`).catch(() => null);
      if (answer?.ok) return server;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`meno serve did not become ready: ${server.said}`);
  }

  async stop() {
    if (this.process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGTERM");
    await ended;
  }
}
