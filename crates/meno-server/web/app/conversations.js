// The chats of this tab: how they are saved, opened and kept in step with other tabs.

import { newChat } from "./chat.js";
import { ChatStore } from "./database.js";
import { byId, setQuestion } from "./dom.js";
import { mergeChat } from "./merge.js";
import { toast } from "./notifications.js";
import { invalidate } from "./redraw.js";
import { state } from "./state.js";
import { Tabs } from "./tabs.js";
import { clearTextCache } from "./text-cache.js";
import { saveLeaf } from "./web-storage.js";

/** Chat id -> {text, files}: questions that were not sent yet. */
export const drafts = new Map();

/** The other tabs. */
export const tabs = new Tabs({ changed: changedElsewhere, deleted: deletedElsewhere, silent: invalidate });
state.isWrittenElsewhere = (message) => tabs.isWriting(message);

const deleted = new Map(); // chats that another tab deleted, in case it restores them
let store = null;

/** Opens the database and loads all chats. */
export async function loadChats() {
  store = await ChatStore.open();
  state.keepsNothing = !store.isPersistent;
  for (const chat of await store.all().catch(() => [])) state.chats.set(chat.id, chat);
}

/** Writes a chat to the database. */
export function writeChat(chat) {
  return store.put(chat);
}

/** Saves a chat unless it has been deleted. `ended` is its run if the answer has just been completed. */
export async function saveChat(chat, ended = null) {
  if (!state.chats.has(chat.id)) return;
  saveLeaf(chat);
  try {
    await store.put(chat);
    tabs.changed(chat.id, ended ?? state.runs.get(chat.id), ended !== null);
  } catch {
    toast("The browser could not keep this chat: its storage may be full. Export it in the settings, or delete other chats.");
  }
}

/** Adds a chat to the list and saves it. */
export function addChat(chat) {
  state.chats.set(chat.id, chat);
  saveChat(chat);
}

/** Stops the answer of a chat and removes it from the database. */
export function discardChat(chat) {
  state.runs.get(chat.id)?.stop();
  store.delete(chat.id).then(() => tabs.deleted(chat.id));
}

/** Opens a chat, with its draft. */
export function showChat(chat) {
  drafts.set(state.chat.id, { text: byId("question").value, files: state.attachments });
  if (chat !== state.chat) clearTextCache();
  const draft = drafts.get(chat.id);
  Object.assign(state, { chat, editing: null, drawerOpen: false, attachments: draft?.files ?? [], followEnd: true });
  setQuestion(draft?.text ?? "");
  const hash = state.chats.has(chat.id) ? `#${chat.id}` : "";
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname + location.search);
  invalidate();
}

/** Opens the chat in the address bar, or a new one. */
export function showAddressedChat() {
  const chat = state.chats.get(location.hash.slice(1));
  if (chat !== state.chat) showChat(chat ?? newChat());
}

async function changedElsewhere(id) {
  const saved = await store?.get(id);
  if (!saved) return;
  const chat = state.chats.get(id) ?? deleted.get(id);
  if (chat) mergeChat(chat, saved);
  state.chats.set(id, chat ?? saved);
  deleted.delete(id);
  invalidate();
}

function deletedElsewhere(id) {
  const chat = state.chats.get(id);
  if (!chat) return;
  state.runs.get(id)?.stop();
  deleted.set(id, chat);
  state.chats.delete(id);
  if (state.chat === chat) showChat(newChat());
  invalidate();
}
