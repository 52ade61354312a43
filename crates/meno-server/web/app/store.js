// Where the chats and the settings are kept: in this browser alone.

import { absorb, showLeaf } from "./merge.js";

const DATABASE = "meno";
const CHATS = "chats";
const SETTINGS = "meno-settings";
const UNSAVED = "meno-unsaved-";
const LEAVES = "meno-leaves";

function promise(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The chats. Where the browser keeps nothing (a private window), they last as long as the page. */
export class Store {
  static async open() {
    const store = new Store();
    try {
      const opening = indexedDB.open(DATABASE, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(CHATS, { keyPath: "id" });
      store.database = await promise(opening);
    } catch {
      store.database = null;
    }
    return store;
  }

  get lasts() {
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
   * Keeps a chat together with what other tabs have kept of it, which is also taken into `chat`. One transaction reads
   * and writes, so no tab overwrites what another has just kept.
   */
  async put(chat) {
    if (!this.database) return;
    const table = this.table("readwrite");
    const kept = await promise(table.get(chat.id));
    if (kept) absorb(chat, kept);
    await promise(table.put(structuredClone(chat)));
  }

  async delete(id) {
    if (this.database) await promise(this.table("readwrite").delete(id));
  }
}

/**
 * Keeps what is being written at once: a page that goes has no time for a database. `name` is the name of the tab;
 * without chats nothing is left.
 */
export function keepUnsaved(name, chats) {
  try {
    if (chats.length > 0) localStorage.setItem(UNSAVED + name, JSON.stringify(chats));
    else localStorage.removeItem(UNSAVED + name);
  } catch {
    // No room, or a browser that keeps nothing: what the database has must do.
  }
}

/** The chats that pages left behind when they went, with a function that forgets them. */
export function takeUnsaved() {
  const chats = [];
  let names = [];
  try {
    names = Object.keys(localStorage).filter((name) => name.startsWith(UNSAVED));
    for (const name of names) chats.push(...JSON.parse(localStorage.getItem(name)));
  } catch {
    // Nothing readable was left.
  }
  return { chats, forget: () => names.forEach((name) => localStorage.removeItem(name)) };
}

function ownLeaves() {
  try {
    return JSON.parse(sessionStorage.getItem(LEAVES)) ?? {};
  } catch {
    return {};
  }
}

/** Keeps which branch of a chat this tab shows: the chat's own `leaf` is that of the tab that saved it last. */
export function keepLeaf({ id, leaf }) {
  try {
    sessionStorage.setItem(LEAVES, JSON.stringify({ ...ownLeaves(), [id]: leaf }));
  } catch {
    // A browser that keeps nothing: a reload shows the branch that the chat was saved with.
  }
}

/** Has the chats show what this tab showed of them before it was loaded again. */
export function takeLeaves(chats) {
  for (const [id, leaf] of Object.entries(ownLeaves())) if (chats.has(id)) showLeaf(chats.get(id), leaf);
}

export const DEFAULTS = {
  system: "", thinking: true, thinking_budget: null, temperature: null, top_p: null, top_k: null, min_p: null, max_tokens: null, seed: null, key: "", model: "", sidebar: true,
};

/** The settings, those of an older page or another hand made whole. */
export function readSettings(text) {
  const settings = { ...DEFAULTS };
  let saved = null;
  try {
    saved = JSON.parse(text ?? "null");
  } catch {
    return settings;
  }
  for (const [name, value] of Object.entries(saved ?? {})) {
    if (!Object.hasOwn(DEFAULTS, name)) continue;
    const fits = DEFAULTS[name] === null ? value === null || Number.isFinite(value) : typeof value === typeof DEFAULTS[name];
    if (fits) settings[name] = value;
  }
  return settings;
}

export function loadSettings() {
  try {
    return readSettings(localStorage.getItem(SETTINGS));
  } catch {
    return { ...DEFAULTS };
  }
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing: the settings last as long as the page.
  }
}
