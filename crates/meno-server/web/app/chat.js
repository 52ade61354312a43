// A conversation as a tree: an edited question or another try is a new branch, and nothing said is lost.
//
// chat: {id, title, titled, created, updated, messages: {id: message}, leaf}; message: {id, parent, role, content, created,
// revision}, of questions {files}, and of answers {reasoning, model, stats, finish, cut, error}. `leaf` is the last message
// of the branch that is shown, `titled` when the title was chosen, `revision` grows with every change of a message.

import { withFiles } from "./attachments.js";

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => b.toString(16).padStart(2, "0")).join("");

export function newChat(now = Date.now()) {
  return { id: newId(), title: "", titled: 0, created: now, updated: now, messages: {}, leaf: null };
}

/** Puts a message under `parent` (null: at the root) and shows its branch. */
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

/** The versions of a message, oldest first. */
export function versions(chat, message) {
  return byAge(Object.values(chat.messages).filter((m) => m.parent === message.parent && m.role === message.role));
}

// Tabs may have put the same messages into a chat in another order.
const byAge = (messages) => messages.sort((a, b) => a.created - b.created);

/** Shows the version `step` places from `message`, with what was last said below it. */
export function turnTo(chat, message, step) {
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

/** What is sent to the model: what was said, without the thoughts, and without answers that never came. */
export function history(chat, leaf = chat.leaf) {
  return branch(chat, leaf).filter((m) => m.role === "user" || m.content).map(({ role, content, files }) => ({ role, content: withFiles(content, files) }));
}

/**
 * Whether the model can continue an answer: it has begun, and neither ended by itself nor was refused. A model of few
 * tasks reads nothing but its question.
 */
export function canContinue(message, model) {
  if ((!message.content && !message.reasoning) || !model || model.examples.length > 0) return false;
  return message.error ? message.error.kind !== "refused" : message.finish === null || message.finish === "stopped" || message.finish === "length";
}

export function titleOf(text) {
  const line = text.trim().split("\n")[0].replace(/\s+/g, " ").replace(/^[#>*\-\s`]+/, "");
  if (line.length <= 60) return line || "New chat";
  return `${line.slice(0, 58).replace(/\s\S{0,20}$/, "")}…`;
}

/** Chats that hold every word of `query`, with the place where it was found. */
export function search(chats, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return chats.map((chat) => ({ chat, excerpt: "" }));
  const found = [];
  for (const chat of chats) {
    const texts = [chat.title, ...Object.values(chat.messages).flatMap((m) => [m.content, ...(m.files ?? []).map((file) => file.name)])];
    const all = texts.join("\n").toLowerCase();
    if (!words.every((word) => all.includes(word))) continue;
    found.push({ chat, excerpt: chat.title.toLowerCase().includes(words[0]) ? "" : excerptOf(texts.slice(1), words[0]) });
  }
  return found;
}

function excerptOf(texts, word) {
  const text = texts.find((t) => t.toLowerCase().includes(word)) ?? "";
  const at = text.toLowerCase().indexOf(word);
  return `${at > 24 ? "…" : ""}${text.slice(Math.max(0, at - 24), at + 60)}`.replace(/\s+/g, " ");
}

/** Chats under the headings of a list: today, yesterday, the last week, the last month, older. */
export function byDay(chats, now = Date.now()) {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const day = 86_400_000;
  const bounds = [["Today", midnight], ["Yesterday", midnight - day], ["Last 7 days", midnight - 7 * day], ["Last 30 days", midnight - 30 * day], ["Older", -Infinity]];
  const groups = new Map();
  for (const chat of [...chats].sort((a, b) => b.updated - a.updated)) {
    const [name] = bounds.find(([, from]) => chat.updated >= from);
    groups.set(name, [...(groups.get(name) ?? []), chat]);
  }
  return [...groups];
}

// ---- files ------------------------------------------------------------------------------------------------------

const FORMAT = "meno-chats";

export function exportChats(chats) {
  return JSON.stringify({ format: FORMAT, version: 1, chats }, null, 1);
}

/** The chats of an exported file, made new; throws an Error in plain words where it is none. */
export function importChats(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON. Choose one that Export has written.");
  }
  if (file?.format !== FORMAT || !Array.isArray(file.chats)) throw new Error("This file was not exported by Meno. Choose one that Export has written.");
  return file.chats.map(readChat);
}

/** A chat from outside, field by field; throws where its messages do not hang together. */
export function readChat(raw) {
  const string = (value, fallback = "") => (typeof value === "string" ? value : fallback);
  const number = (value, fallback = null) => (Number.isFinite(value) ? value : fallback);
  const messages = {};
  for (const [id, m] of Object.entries(raw?.messages ?? {})) {
    if (!/^[a-zA-Z0-9]{1,64}$/.test(id) || (m?.role !== "user" && m?.role !== "assistant")) throw new Error("A message of this file is damaged. Export the chats again where they are.");
    messages[id] = { id, parent: m.parent === null ? null : string(m.parent), role: m.role, content: string(m.content), created: number(m.created, 0), revision: number(m.revision, 1) };
    if (m.role === "user") {
      const files = Array.isArray(m.files) ? m.files.filter((file) => typeof file?.name === "string" && typeof file.text === "string") : [];
      if (files.length > 0) messages[id].files = files.map(({ name, text }) => ({ name: name.slice(0, 200), text }));
      continue;
    }
    const stats = Object.fromEntries(Object.entries(m.stats ?? {}).filter(([name, value]) => /^[a-zA-Z]{1,24}$/.test(name) && Number.isFinite(value)));
    Object.assign(messages[id], { reasoning: string(m.reasoning), model: string(m.model), stats, finish: string(m.finish, null), cut: string(m.cut, null), error: null });
  }
  const known = (id) => id === null || Object.hasOwn(messages, id);
  for (const message of Object.values(messages)) {
    if (!known(message.parent)) throw new Error("A message of this file has lost the one before it. Export the chats again where they are.");
    const seen = new Set();
    for (let m = message; m; m = m.parent === null ? null : messages[m.parent]) {
      if (seen.has(m.id)) throw new Error("The messages of this file form a circle. Export the chats again where they are.");
      seen.add(m.id);
    }
  }
  const leaf = typeof raw.leaf === "string" && known(raw.leaf) ? raw.leaf : (Object.keys(messages).pop() ?? null);
  const created = number(raw.created, Date.now());
  return { id: newId(), title: string(raw.title, "Imported chat").slice(0, 200), titled: number(raw.titled, 0), created, updated: number(raw.updated, created), messages, leaf };
}
