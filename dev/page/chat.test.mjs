// chat.js and chat-search.js: the tree of messages, titles, search, groups.

import { test } from "node:test";
import assert from "node:assert/strict";
import { addMessage, branch, canContinue, newChat, requestMessages, switchVersion, titleOf, versions } from "../../crates/meno-server/web/app/chat.js";
import { groupByDay, searchChats } from "../../crates/meno-server/web/app/chat-search.js";

const answer = (fields = {}) => ({ content: "", reasoning: "", stats: {}, model: "m", finish: null, cut: null, error: null, ...fields });

function talk() {
  const chat = newChat(1000);
  const q1 = addMessage(chat, null, "user", { content: "first question" }, 1001);
  const a1 = addMessage(chat, q1.id, "assistant", { content: "first answer", reasoning: "hm", stats: {} }, 1002);
  const q2 = addMessage(chat, a1.id, "user", { content: "second" }, 1003);
  const a2 = addMessage(chat, q2.id, "assistant", { content: "again", reasoning: "", stats: {} }, 1004);
  return { chat, q1, a1, q2, a2 };
}

test("a branch leads to the leaf; requests contain no thoughts", () => {
  const { chat, q1, a1, q2, a2 } = talk();
  assert.deepEqual(branch(chat), [q1, a1, q2, a2]);
  assert.deepEqual(requestMessages(chat), [{ role: "user", content: "first question" }, { role: "assistant", content: "first answer" }, { role: "user", content: "second" }, { role: "assistant", content: "again" }]);
  a1.content = "";
  assert.equal(requestMessages(chat).length, 3);
});

test("an edit and another attempt are versions; switching shows the newest branch below", () => {
  const { chat, q1, a1, q2, a2 } = talk();
  const tried = addMessage(chat, q1.id, "assistant", { content: "another" });
  assert.deepEqual(branch(chat), [q1, tried]);
  assert.deepEqual(versions(chat, tried), [a1, tried]);
  switchVersion(chat, tried, -1);
  assert.deepEqual(branch(chat), [q1, a1, q2, a2]);
  switchVersion(chat, a1, -1);
  assert.deepEqual(branch(chat), [q1, a1, q2, a2]);
  const edited = addMessage(chat, null, "user", { content: "edited" });
  assert.deepEqual([branch(chat), versions(chat, q1)], [[edited], [q1, edited]]);
  switchVersion(chat, edited, -1);
  assert.equal(chat.leaf, tried.id, "the newest branch below");
});

test("titles are one short line", () => {
  assert.equal(titleOf("## How  many\nprimes"), "How many");
  assert.equal(titleOf("   "), "New chat");
  assert.ok(titleOf("word ".repeat(50)).length <= 60);
  assert.ok(titleOf("x".repeat(100)).length <= 60);
});

test("search finds chats that contain every word", () => {
  const { chat } = talk();
  const other = newChat();
  addMessage(other, null, "user", { content: "primes" });
  const ids = (query) => searchChats([chat, other], query).map((f) => f.chat.id);
  assert.deepEqual(ids(""), [chat.id, other.id]);
  assert.deepEqual(ids("AGAIN first"), [chat.id]);
  assert.deepEqual(ids("again primes"), []);
  assert.equal(searchChats([chat], "again")[0].excerpt, "again");
});

test("chats are grouped by day, newest first", () => {
  const now = new Date(2026, 5, 15, 12).getTime();
  const at = (days) => ({ ...newChat(), updated: now - days * 86_400_000 });
  const groups = groupByDay([at(40), at(0), at(1), at(3), at(20)], now);
  assert.deepEqual(groups.map(([name, chats]) => [name, chats.length]), [["Today", 1], ["Yesterday", 1], ["Last 7 days", 1], ["Last 30 days", 1], ["Older", 1]]);
});

test("which answers can be continued", () => {
  const model = { id: "m", thinks: true, examples: [] };
  assert.equal(canContinue(answer({ content: "x" }), model), true);
  assert.equal(canContinue(answer({ reasoning: "x", finish: "length" }), model), true);
  assert.equal(canContinue(answer({ content: "x", finish: "stopped" }), model), true);
  assert.equal(canContinue(answer({ content: "x", error: { kind: "broken" } }), model), true);
  for (const no of [answer(), answer({ content: "x", finish: "stop" }), answer({ content: "x", error: { kind: "refused" } })]) assert.equal(canContinue(no, model), false);
  assert.equal(canContinue(answer({ content: "x" }), { ...model, examples: ["1+1"] }), false);
});
