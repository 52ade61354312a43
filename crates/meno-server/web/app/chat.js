// A chat is a tree of messages: an edited question or another attempt at an answer starts a branch; nothing is lost.
//
// chat: {id, title, titled, created, updated, messages: {id: message}, leaf}. `leaf` is the last message of the branch
// that is shown; `titled` is the time when the user chose the title.
// message: {id, parent, role, content, created, revision}. Questions add {files}; answers add {reasoning, model, stats,
// finish, cut, error}. `revision` grows with every change.

import { withFiles } from "./attachments.js";

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => b.toString(16).padStart(2, "0")).join("");

export function newChat(now = Date.now()) {
  return { id: newId(), title: "", titled: 0, created: now, updated: now, messages: {}, leaf: null };
}

/** Adds a message below `parent` (null: at the root) and shows its branch. */
export function addMessage(chat, parent, role, fields = {}, now = Date.now()) {
  const message = { id: newId(), parent, role, content: "", created: now, revision: 1, ...fields };
  chat.messages[message.id] = message;
  chat.leaf = message.id;
  chat.updated = now;
  if (!chat.title && role === "user") chat.title = titleOf(message.content || (message.files?.[0]?.name ?? ""));
  return message;
}

/** The messages from the root to `leaf`. */
export function branch(chat, leaf = chat.leaf) {
  const path = [];
  for (let id = leaf; id !== null; id = chat.messages[id].parent) path.push(chat.messages[id]);
  return path.reverse();
}

/** All versions of a message, oldest first. */
export function versions(chat, message) {
  return byAge(Object.values(chat.messages).filter((m) => m.parent === message.parent && m.role === message.role));
}

// Sorts by age because merged tabs may have added the same messages in different orders.
const byAge = (messages) => messages.sort((a, b) => a.created - b.created);

/** Shows the version `step` places from `message`, and the newest branch below it. */
export function switchVersion(chat, message, step) {
  const all = versions(chat, message);
  const wanted = all[all.indexOf(message) + step];
  if (!wanted) return;
  let leaf = wanted;
  for (;;) {
    const below = byAge(Object.values(chat.messages).filter((m) => m.parent === leaf.id));
    if (below.length === 0) break;
    leaf = below[below.length - 1];
  }
  chat.leaf = leaf.id;
}

/** The messages for a request: without thoughts and without empty answers. */
export function requestMessages(chat, leaf = chat.leaf) {
  return branch(chat, leaf).filter((m) => m.role === "user" || m.content).map(({ role, content, files }) => ({ role, content: withFiles(content, files) }));
}

/**
 * Returns true if the model can continue an answer: the answer has begun, and neither ended normally nor was rejected.
 * A model with examples (trained for a few tasks) reads only a question.
 */
export function canContinue(message, model) {
  if ((!message.content && !message.reasoning) || !model || model.examples.length > 0) return false;
  return message.error ? message.error.kind !== "refused" : message.finish === null || message.finish === "stopped" || message.finish === "length";
}

/** A title of at most 60 characters from the first line of a text. */
export function titleOf(text) {
  const line = text.trim().split("\n")[0].replace(/\s+/g, " ").replace(/^[#>*\-\s`]+/, "");
  if (line.length <= 60) return line || "New chat";
  return `${line.slice(0, 58).replace(/\s\S{0,20}$/, "")}…`;
}
