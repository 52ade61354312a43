// The other tabs of this page: which chats they change, and which answers they are writing.

import { newId } from "./chat.js";

const SILENT_MS = 4000; // a writing tab reports every second; after this silence it counts as closed

export class Tabs {
  /**
   * Calls `on.changed(chatId)` or `on.deleted(chatId)` when another tab saves or deletes a chat, and `on.silent()` when
   * a writing tab may have closed.
   */
  constructor(on) {
    this.name = newId();
    this.writing = new Map(); // message id -> when its tab counts as closed
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

  /** Reports that a chat was saved; `run` is its answer, `ended` is true if that is complete. */
  changed(id, run = null, ended = false) {
    this.channel?.postMessage({ kind: "changed", id, writing: run && !ended ? run.message.id : null, ended: ended ? run.message.id : null });
  }

  /** Reports that a chat was deleted. */
  deleted(id) {
    this.channel?.postMessage({ kind: "deleted", id });
  }

  /** Returns true if another tab is writing this message. */
  isWriting(message) {
    return (this.writing.get(message.id) ?? 0) > Date.now();
  }
}
