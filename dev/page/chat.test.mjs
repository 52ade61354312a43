import { test } from "node:test";
import assert from "node:assert/strict";
import { addMessage, branch, byDay, exportChats, history, importChats, newChat, search, titleOf, turnTo, versions } from "../../crates/meno-server/web/app/chat.js";

function talk() {
  const chat = newChat(1000);
  const q1 = addMessage(chat, null, "user", { content: "first question" }, 1001);
  const a1 = addMessage(chat, q1.id, "assistant", { content: "first answer", reasoning: "hm", stats: {} }, 1002);
  const q2 = addMessage(chat, a1.id, "user", { content: "second" }, 1003);
  const a2 = addMessage(chat, q2.id, "assistant", { content: "again", reasoning: "", stats: {} }, 1004);
  return { chat, q1, a1, q2, a2 };
}

test("a branch is what leads to the leaf; its history holds no thoughts", () => {
  const { chat, q1, a1, q2, a2 } = talk();
  assert.deepEqual(branch(chat), [q1, a1, q2, a2]);
  assert.deepEqual(history(chat), [{ role: "user", content: "first question" }, { role: "assistant", content: "first answer" }, { role: "user", content: "second" }, { role: "assistant", content: "again" }]);
  a1.content = "";
  assert.equal(history(chat).length, 3);
});

test("an edit and another try are versions, and turning shows what was last said below them", () => {
  const { chat, q1, a1, q2, a2 } = talk();
  const tried = addMessage(chat, q1.id, "assistant", { content: "another" });
  assert.deepEqual(branch(chat), [q1, tried]);
  assert.deepEqual(versions(chat, tried), [a1, tried]);
  turnTo(chat, tried, -1);
  assert.deepEqual(branch(chat), [q1, a1, q2, a2]);
  turnTo(chat, a1, -1);
  assert.deepEqual(branch(chat), [q1, a1, q2, a2]);
  const edited = addMessage(chat, null, "user", { content: "edited" });
  assert.deepEqual([branch(chat), versions(chat, q1)], [[edited], [q1, edited]]);
  turnTo(chat, edited, -1);
  assert.equal(chat.leaf, tried.id, "the newest branch below");
});

test("titles are one short line", () => {
  assert.equal(titleOf("## How  many\nprimes"), "How many");
  assert.equal(titleOf("   "), "New chat");
  assert.ok(titleOf("word ".repeat(50)).length <= 60);
  assert.ok(titleOf("x".repeat(100)).length <= 60);
});

test("search wants every word, wherever it was said", () => {
  const { chat } = talk();
  const other = newChat();
  addMessage(other, null, "user", { content: "primes" });
  const ids = (query) => search([chat, other], query).map((f) => f.chat.id);
  assert.deepEqual(ids(""), [chat.id, other.id]);
  assert.deepEqual(ids("AGAIN first"), [chat.id]);
  assert.deepEqual(ids("again primes"), []);
  assert.equal(search([chat], "again")[0].excerpt, "again");
});

test("chats stand under their days, newest first", () => {
  const now = new Date(2026, 5, 15, 12).getTime();
  const at = (days) => ({ ...newChat(), updated: now - days * 86_400_000 });
  const groups = byDay([at(40), at(0), at(1), at(3), at(20)], now);
  assert.deepEqual(groups.map(([name, chats]) => [name, chats.length]), [["Today", 1], ["Yesterday", 1], ["Last 7 days", 1], ["Last 30 days", 1], ["Older", 1]]);
});

test("what is exported is imported, as new chats", () => {
  const { chat } = talk();
  const [copy] = importChats(exportChats([chat]));
  assert.notEqual(copy.id, chat.id);
  assert.deepEqual([copy.title, history(copy), copy.updated], [chat.title, history(chat), chat.updated]);
});

test("a damaged or foreign file is refused in words, and cannot reach further", () => {
  const file = (chats) => JSON.stringify({ format: "meno-chats", version: 1, chats });
  const m = (id, parent, more = {}) => ({ [id]: { id, parent, role: "user", content: "c", ...more } });
  for (const text of ["{", "null", "[]", '{"format":"other","chats":[]}', file([{ messages: m("a", "b") }]), file([{ messages: { ...m("a", "b"), ...m("b", "a") } }]), file([{ messages: m("a", null, { role: "system" }) }]),
    file([{ messages: m("a-b", null) }]), '{"format":"meno-chats","chats":[{"messages":{"__proto__":{"role":"user","parent":null}}}]}']) assert.throws(() => importChats(text), Error, text);
  const [chat] = importChats(file([{ title: 5, leaf: "constructor", created: "x", messages: m("a", null, { role: "assistant", content: {}, stats: { ok: 1, "<b>": 2, bad: "x" }, error: { title: "<b>" } }) }]));
  assert.deepEqual([chat.title, chat.leaf, chat.messages.a.content, chat.messages.a.stats, chat.messages.a.error], ["Imported chat", "a", "", { ok: 1 }, null]);
  assert.deepEqual(importChats(file([{}]))[0].leaf, null);
});
