// chat-files.js: export and import of chats.

import { test } from "node:test";
import assert from "node:assert/strict";
import { addMessage, newChat, requestMessages } from "../../crates/meno-server/web/app/chat.js";
import { chatAsMarkdown, exportChats, fileName, importChats } from "../../crates/meno-server/web/app/chat-files.js";

function talk() {
  const chat = newChat(1000);
  const question = addMessage(chat, null, "user", { content: "q" }, 1001);
  const reply = addMessage(chat, question.id, "assistant", { content: "a", reasoning: "hm", stats: {}, model: "m", finish: "stop", cut: null, error: null }, 1002);
  return { chat, reply };
}

test("exported chats are imported with new ids", () => {
  const { chat } = talk();
  const [copy] = importChats(exportChats([chat]));
  assert.notEqual(copy.id, chat.id);
  assert.deepEqual([copy.title, requestMessages(copy), copy.updated], [chat.title, requestMessages(chat), chat.updated]);
});

test("a damaged or foreign file is rejected with a message", () => {
  const file = (chats) => JSON.stringify({ format: "meno-chats", version: 1, chats });
  const m = (id, parent, more = {}) => ({ [id]: { id, parent, role: "user", content: "c", ...more } });
  for (const text of ["{", "null", "[]", '{"format":"other","chats":[]}', file([{ messages: m("a", "b") }]), file([{ messages: { ...m("a", "b"), ...m("b", "a") } }]), file([{ messages: m("a", null, { role: "system" }) }]),
    file([{ messages: m("a-b", null) }]), '{"format":"meno-chats","chats":[{"messages":{"__proto__":{"role":"user","parent":null}}}]}']) assert.throws(() => importChats(text), Error, text);
  const [chat] = importChats(file([{ title: 5, leaf: "constructor", created: "x", messages: m("a", null, { role: "assistant", content: {}, stats: { ok: 1, "<b>": 2, bad: "x" }, error: { title: "<b>" } }) }]));
  assert.deepEqual([chat.title, chat.leaf, chat.messages.a.content, chat.messages.a.stats, chat.messages.a.error], ["Imported chat", "a", "", { ok: 1 }, null]);
  assert.deepEqual(importChats(file([{}]))[0].leaf, null);
});

test("a chat as Markdown contains everything that is shown", () => {
  const { chat, reply } = talk();
  Object.assign(reply, { reasoning: "hm", content: "**a**", finish: "stopped" });
  const out = chatAsMarkdown(chat);
  assert.equal(out, "# q\n\n## Question\n\nq\n\n## Answer (m)\n\n<details>\n<summary>Thought</summary>\n\nhm\n\n</details>\n\n**a**\n\n*(stopped)*\n");
  assert.equal(fileName("What is 1 + 1?", "md"), "What-is-1-1.md");
  assert.equal(fileName("???", "md"), "chat.md");
});
