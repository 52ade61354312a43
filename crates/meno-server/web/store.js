// Where the chats and the settings are kept: in this browser alone.

const DATABASE = "meno";
const CHATS = "chats";
const SETTINGS = "meno-settings";

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

  async put(chat) {
    if (this.database) await promise(this.table("readwrite").put(structuredClone(chat)));
  }

  async delete(id) {
    if (this.database) await promise(this.table("readwrite").delete(id));
  }
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
