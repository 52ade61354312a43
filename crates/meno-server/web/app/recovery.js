// What survives a reload, a closed tab or a crash: unfinished answers, the branch each tab shows, the unsent question.

import { byId, setQuestion } from "./dom.js";
import { tabs, writeChat } from "./conversations.js";
import { branchSnapshot, mergeChat, showBranch } from "./merge.js";
import { state } from "./state.js";
import { loadDraft, loadLeaves, loadUnfinished, saveDraft, saveLeaf, saveUnfinished } from "./web-storage.js";

// The open chat in a draft; "" for a chat without messages, whose id changes with a reload.
const draftChatId = () => (state.chats.has(state.chat.id) ? state.chat.id : "");

/** Saves streaming answers, the branch and the draft synchronously. */
export function saveUnfinishedWork() {
  saveUnfinished(tabs.name, [...state.runs].filter(([id]) => state.chats.has(id)).map(([id, run]) => branchSnapshot(state.chats.get(id), run.message)));
  if (state.chats.has(state.chat.id)) saveLeaf(state.chat);
  saveDraft(draftChatId(), byId("question").value);
}

/** Merges the unfinished answers of closed pages into the chats. */
export async function restoreUnfinished() {
  const { chats, forget } = loadUnfinished();
  for (const left of chats.filter((chat) => typeof chat?.id === "string" && chat.messages)) {
    const chat = state.chats.get(left.id);
    if (chat) mergeChat(chat, left);
    else state.chats.set(left.id, left);
    await writeChat(state.chats.get(left.id));
  }
  forget();
}

/** Shows the branches that this tab showed before a reload. */
export function restoreBranches() {
  for (const [id, leaf] of Object.entries(loadLeaves())) if (state.chats.has(id)) showBranch(state.chats.get(id), leaf);
}

/** Restores the unsent question of this tab. */
export function restoreDraft() {
  try {
    const [id, text] = loadDraft();
    if (id === draftChatId() && !byId("question").value) setQuestion(text);
  } catch {
    // No draft was saved.
  }
}
