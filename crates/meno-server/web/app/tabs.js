// The other tabs of this page: what they change, and which answers they are writing.

import { newId } from "./chat.js";

const SILENT_MS = 4000; // a tab that writes says so every second; one that is silent for so long is gone

export class Tabs {
  /** `on.changed(chatId)` and `on.deleted(chatId)` are called when another tab kept or deleted a chat. */
  constructor(on) {
    this.name = newId();
    this.writing = new Map(); // message id -> when its tab is taken for gone
    this.channel = typeof BroadcastChannel === "function" ? new BroadcastChannel("meno") : null;
    this.channel?.addEventListener("message", ({ data }) => {
      if (typeof data?.id !== "string") return;
      if (data.kind === "deleted") return on.deleted(data.id);
      if (typeof data.ended === "string") this.writing.delete(data.ended);
      if (typeof data.writing === "string") {
        this.writing.set(data.writing, Date.now() + SILENT_MS);
        setTimeout(() => on.silent(), SILENT_MS + 50);
      }
      on.changed(data.id);
    });
  }

  /** Reports to the others that a chat was kept; `run` is its answer, `ended` says that it is complete. */
  changed(id, run = null, ended = false) {
    this.channel?.postMessage({ kind: "changed", id, writing: run && !ended ? run.message.id : null, ended: ended ? run.message.id : null });
  }

  deleted(id) {
    this.channel?.postMessage({ kind: "deleted", id });
  }

  /** Whether another tab is writing this message. */
  writes(message) {
    return (this.writing.get(message.id) ?? 0) > Date.now();
  }
}
