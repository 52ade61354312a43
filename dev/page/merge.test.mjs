// merge.js: merging two states of a chat.

import { test } from "node:test";
import assert from "node:assert/strict";
import { addMessage, branch, newChat, versions } from "../../crates/meno-server/web/app/chat.js";
import { branchSnapshot, mergeChat, showBranch } from "../../crates/meno-server/web/app/merge.js";

const answer = (fields = {}) => ({ content: "", reasoning: "", stats: {}, model: "m", finish: null, cut: null, error: null, ...fields });

function talk() {
  const chat = newChat(1000);
  const question = addMessage(chat, null, "user", { content: "q" }, 1001);
  const reply = addMessage(chat, question.id, "assistant", answer({ content: "a", finish: "stop" }), 1002);
  return { chat, question, reply };
}

const shape = (chat) => Object.values(chat.messages).map(({ id, parent, content, reasoning }) => [id, parent, content, reasoning]).sort();

test("two tabs keep the messages of both, in any order of merging", () => {
  const { chat, reply } = talk();
  const other = structuredClone(chat);
  addMessage(chat, reply.id, "user", { content: "here" }, 1003);
  const there = addMessage(other, reply.id, "user", { content: "there" }, 1004);
  addMessage(other, there.id, "assistant", answer({ content: "yes" }), 1005);
  const [first, second] = [structuredClone(chat), structuredClone(other)];
  assert.equal(mergeChat(first, other), true);
  mergeChat(second, chat);
  assert.deepEqual(shape(first), shape(second));
  assert.equal(Object.keys(first.messages).length, 5);
  assert.equal(mergeChat(first, other), false, "a second time changes nothing");
  assert.equal(branch(first).at(-1).content, "here", "each tab keeps the branch that it shows");
  assert.deepEqual(versions(first, there).map((m) => m.content), ["here", "there"]);
});

test("an idle tab follows the other tab's branch", () => {
  const { chat, reply } = talk();
  const other = structuredClone(chat);
  const next = addMessage(other, reply.id, "user", { content: "more" });
  mergeChat(chat, other);
  assert.equal(chat.leaf, next.id);
});

test("a tab shows its own branch again, with its continuation", () => {
  const { chat, reply } = talk();
  const here = addMessage(chat, reply.id, "user", { content: "here" }, 1003);
  const there = addMessage(chat, reply.id, "user", { content: "there" }, 1004);
  showBranch(chat, here.id);
  assert.equal(chat.leaf, here.id, "another tab's branch is not shown");
  const below = addMessage(chat, here.id, "assistant", answer({ content: "yes" }), 1005);
  showBranch(chat, here.id);
  assert.equal(chat.leaf, below.id, "nor is what came below hidden");
  for (const unknown of ["gone", null, undefined, 7, "__proto__", "toString"]) showBranch(chat, unknown);
  assert.equal(chat.leaf, below.id);
  showBranch(chat, there.id);
  assert.equal(branch(chat).at(-1), there);
});

test("the newer state of an answer wins, and objects keep their identity", () => {
  const { chat, reply } = talk();
  const early = structuredClone(chat);
  Object.assign(reply, { content: "and more", revision: 9 });
  Object.assign(reply, { content: "a and more" });
  mergeChat(chat, early);
  assert.equal(chat.messages[reply.id], reply);
  assert.equal(reply.content, "a and more");
  mergeChat(early, chat);
  assert.equal(early.messages[reply.id].content, "a and more");
  assert.equal(Object.keys(early.messages).length, 2);
});

test("two tabs that continue one answer leave two versions", () => {
  const { chat, reply } = talk();
  const other = structuredClone(chat);
  Object.assign(reply, { content: "a long end", revision: 5 });
  Object.assign(other.messages[reply.id], { content: "a short end", revision: 4 });
  const back = structuredClone(other);
  mergeChat(chat, other);
  mergeChat(other, chat);
  mergeChat(chat, back);
  assert.deepEqual(versions(chat, reply).map((m) => m.content).sort(), ["a long end", "a short end"]);
  assert.deepEqual(shape(chat), shape(other));
});

test("random histories of three tabs converge and lose no message", () => {
  let x = 3;
  const random = (n) => (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) % 65536 * n >> 16;
  for (let round = 0; round < 60; round += 1) {
    const { chat } = talk();
    const all = [chat, structuredClone(chat), structuredClone(chat)];
    const said = new Set(Object.keys(chat.messages));
    for (let step = 0; step < 40; step += 1) {
      const tab = all[random(3)];
      const ids = Object.keys(tab.messages);
      const at = tab.messages[ids[random(ids.length)]];
      const action = random(3);
      if (action === 0) said.add(addMessage(tab, at.id, at.role === "user" ? "assistant" : "user", at.role === "user" ? answer() : {}, 2000 + step).id);
      else if (action === 1 && at.role === "assistant") Object.assign(at, { content: `${at.content}${step}`, revision: at.revision + 1 });
      else mergeChat(tab, structuredClone(all[random(3)]));
    }
    for (let again = 0; again < 3; again += 1) for (const a of all) for (const b of all) if (a !== b) mergeChat(a, structuredClone(b));
    assert.deepEqual(shape(all[0]), shape(all[1]));
    assert.deepEqual(shape(all[1]), shape(all[2]));
    for (const id of said) assert.ok(all[0].messages[id], id);
    for (const tab of all) branch(tab); // every parent is there
  }
});

test("a snapshot contains the branch of its answer", () => {
  const { chat, question, reply } = talk();
  const side = addMessage(chat, question.id, "assistant", answer({ content: "other" }));
  const left = branchSnapshot(chat, reply);
  assert.deepEqual(Object.keys(left.messages).sort(), [question.id, reply.id].sort());
  assert.equal(left.leaf, reply.id);
  const fresh = JSON.parse(JSON.stringify(left));
  mergeChat(fresh, chat);
  assert.ok(fresh.messages[side.id]);
});
