// The chats in IndexedDB.

import { mergeChat } from "./merge.js";

const DATABASE = "meno";
const CHATS = "chats";

function promise(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Stores the chats. Without IndexedDB (a private window) every method does nothing. */
export class ChatStore {
  static async open() {
    const store = new ChatStore();
    try {
      const opening = indexedDB.open(DATABASE, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(CHATS, { keyPath: "id" });
      store.database = await promise(opening);
    } catch {
      store.database = null;
    }
    return store;
  }

  /** True if chats survive the page. */
  get isPersistent() {
    return this.database !== null;
  }

  table(mode) {
    return this.database.transaction(CHATS, mode).objectStore(CHATS);
  }

  async all() {
    return this.database ? promise(this.table("readonly").getAll()) : [];
  }

  async get(id) {
    return this.database ? promise(this.table("readonly").get(id)) : undefined;
  }

  /**
   * Saves a chat merged with its stored state, and merges that state into `chat` too. Reads and writes in one
   * transaction, so that no tab overwrites what another has just saved.
   */
  async put(chat) {
    if (!this.database) return;
    const table = this.table("readwrite");
    const saved = await promise(table.get(chat.id));
    if (saved) mergeChat(chat, saved);
    await promise(table.put(structuredClone(chat)));
  }

  async delete(id) {
    if (this.database) await promise(this.table("readwrite").delete(id));
  }
}
