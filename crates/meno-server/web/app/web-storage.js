// What localStorage and sessionStorage keep besides the settings: unfinished answers, the branch and the draft of a
// tab.

const UNSAVED = "meno-unsaved-";
const LEAVES = "meno-leaves";
const DRAFT = "meno-draft";

/**
 * Saves chats with unfinished answers synchronously: IndexedDB is too slow when a page closes. `tab` is the name of
 * this tab; an empty list removes its entry.
 */
export function saveUnfinished(tab, chats) {
  try {
    if (chats.length > 0) localStorage.setItem(UNSAVED + tab, JSON.stringify(chats));
    else localStorage.removeItem(UNSAVED + tab);
  } catch {
    // No space, or a browser that stores nothing: the database has the state of the last second.
  }
}

/** The chats that closed pages left behind, and a function that removes them from the storage. */
export function loadUnfinished() {
  const chats = [];
  let names = [];
  try {
    names = Object.keys(localStorage).filter((name) => name.startsWith(UNSAVED));
    for (const name of names) chats.push(...JSON.parse(localStorage.getItem(name)));
  } catch {
    // Nothing readable.
  }
  return { chats, forget: () => names.forEach((name) => localStorage.removeItem(name)) };
}

/** The leaf that this tab shows of each chat: `{chatId: messageId}`. */
export function loadLeaves() {
  try {
    return JSON.parse(sessionStorage.getItem(LEAVES)) ?? {};
  } catch {
    return {};
  }
}

/** Saves which branch of a chat this tab shows. The `leaf` in the database belongs to the tab that saved last. */
export function saveLeaf({ id, leaf }) {
  try {
    sessionStorage.setItem(LEAVES, JSON.stringify({ ...loadLeaves(), [id]: leaf }));
  } catch {
    // This browser stores nothing: a reload shows the saved branch.
  }
}

/** Saves the text in the question field; `chatId` is "" for a new chat. */
export function saveDraft(chatId, text) {
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify([chatId, text]));
  } catch {
    // This browser stores nothing.
  }
}

/** The saved draft as `[chatId, text]`. Throws if it is unreadable. */
export function loadDraft() {
  return JSON.parse(sessionStorage.getItem(DRAFT) ?? '["",""]');
}
