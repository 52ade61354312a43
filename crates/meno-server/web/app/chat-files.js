// Chats as files: JSON to export and import, Markdown to read.

import { withFiles } from "./attachments.js";
import { branch, newId } from "./chat.js";

const FORMAT = "meno-chats";

/** Chats as JSON. */
export function exportChats(chats) {
  return JSON.stringify({ format: FORMAT, version: 1, chats }, null, 1);
}

/** Reads an exported file; the chats get new ids. Throws an Error with a message for the user. */
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

// Reads an untrusted chat field by field. Throws if its messages do not form a tree.
function readChat(raw) {
  const string = (value, fallback = "") => (typeof value === "string" ? value : fallback);
  const number = (value, fallback = null) => (Number.isFinite(value) ? value : fallback);
  const messages = {};
  for (const [id, m] of Object.entries(raw?.messages ?? {})) {
    if (!/^[a-zA-Z0-9]{1,64}$/.test(id) || (m?.role !== "user" && m?.role !== "assistant")) throw new Error("A message of this file is damaged. Export the chats again from the browser that has them.");
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
    if (!known(message.parent)) throw new Error("A message of this file has no previous message. Export the chats again from the browser that has them.");
    const seen = new Set();
    for (let m = message; m; m = m.parent === null ? null : messages[m.parent]) {
      if (seen.has(m.id)) throw new Error("The messages of this file refer to each other in a circle. Export the chats again from the browser that has them.");
      seen.add(m.id);
    }
  }
  const leaf = typeof raw.leaf === "string" && known(raw.leaf) ? raw.leaf : (Object.keys(messages).pop() ?? null);
  const created = number(raw.created, Date.now());
  return { id: newId(), title: string(raw.title, "Imported chat").slice(0, 200), titled: number(raw.titled, 0), created, updated: number(raw.updated, created), messages, leaf };
}

/** The open branch as Markdown: questions and answers under headings, thoughts folded. */
export function chatAsMarkdown(chat) {
  const parts = [`# ${chat.title || "Chat"}`];
  for (const message of branch(chat)) {
    if (message.role === "user") {
      parts.push("## Question", withFiles(message.content, message.files));
      continue;
    }
    parts.push(`## Answer${message.model ? ` (${message.model})` : ""}`);
    if (message.reasoning) parts.push(`<details>\n<summary>Thought</summary>\n\n${message.reasoning.trim()}\n\n</details>`);
    if (message.content) parts.push(message.content.trim());
    const ended = message.error ? message.error.title : { stopped: "stopped", length: "cut at the limit of tokens" }[message.finish];
    if (ended) parts.push(`*(${ended})*`);
  }
  return `${parts.join("\n\n")}\n`;
}

/** A file name made from a title. */
export function fileName(title, ending) {
  const words = title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40);
  return `${words || "chat"}.${ending}`;
}
