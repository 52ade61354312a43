import { test } from "node:test";
import assert from "node:assert/strict";
import { absorb, fragment, showLeaf } from "../../crates/meno-server/web/app/merge.js";
import { addMessage, branch, canContinue, exportChats, history, importChats, newChat, versions } from "../../crates/meno-server/web/app/chat.js";
import { decode, readAttachment, withFiles } from "../../crates/meno-server/web/app/attachments.js";
import { chatAsMarkdown, fileName } from "../../crates/meno-server/web/app/share.js";
import { beginnings } from "../../crates/meno-server/web/app/beginnings.js";

const answer = (fields = {}) => ({ content: "", reasoning: "", stats: {}, model: "m", finish: null, cut: null, error: null, ...fields });

function talk() {
  const chat = newChat(1000);
  const question = addMessage(chat, null, "user", { content: "q" }, 1001);
  const reply = addMessage(chat, question.id, "assistant", answer({ content: "a", finish: "stop" }), 1002);
  return { chat, question, reply };
}

const shape = (chat) => Object.values(chat.messages).map(({ id, parent, content, reasoning }) => [id, parent, content, reasoning]).sort();

test("what two tabs say in one chat is kept by both, in whatever order they hear of it", () => {
  const { chat, reply } = talk();
  const other = structuredClone(chat);
  addMessage(chat, reply.id, "user", { content: "here" }, 1003);
  const there = addMessage(other, reply.id, "user", { content: "there" }, 1004);
  addMessage(other, there.id, "assistant", answer({ content: "yes" }), 1005);
  const [first, second] = [structuredClone(chat), structuredClone(other)];
  assert.equal(absorb(first, other), true);
  absorb(second, chat);
  assert.deepEqual(shape(first), shape(second));
  assert.equal(Object.keys(first.messages).length, 5);
  assert.equal(absorb(first, other), false, "a second time changes nothing");
  assert.equal(branch(first).at(-1).content, "here", "each tab keeps the branch that it shows");
  assert.deepEqual(versions(first, there).map((m) => m.content), ["here", "there"]);
});

test("a tab that said nothing shows what the other said", () => {
  const { chat, reply } = talk();
  const other = structuredClone(chat);
  const next = addMessage(other, reply.id, "user", { content: "more" });
  absorb(chat, other);
  assert.equal(chat.leaf, next.id);
});

test("a tab shows its own branch again, and what was said below it since", () => {
  const { chat, reply } = talk();
  const here = addMessage(chat, reply.id, "user", { content: "here" }, 1003);
  const there = addMessage(chat, reply.id, "user", { content: "there" }, 1004);
  showLeaf(chat, here.id);
  assert.equal(chat.leaf, here.id, "another tab's branch is not shown");
  const below = addMessage(chat, here.id, "assistant", answer({ content: "yes" }), 1005);
  showLeaf(chat, here.id);
  assert.equal(chat.leaf, below.id, "nor is what came below hidden");
  for (const unknown of ["gone", null, undefined, 7, "__proto__", "toString"]) showLeaf(chat, unknown);
  assert.equal(chat.leaf, below.id);
  showLeaf(chat, there.id);
  assert.equal(branch(chat).at(-1), there);
});

test("of an answer the longer state holds, and objects that are written to stay the same", () => {
  const { chat, reply } = talk();
  const early = structuredClone(chat);
  Object.assign(reply, { content: "and more", revision: 9 });
  Object.assign(reply, { content: "a and more" });
  absorb(chat, early);
  assert.equal(chat.messages[reply.id], reply);
  assert.equal(reply.content, "a and more");
  absorb(early, chat);
  assert.equal(early.messages[reply.id].content, "a and more");
  assert.equal(Object.keys(early.messages).length, 2);
});

test("two tabs that continue one answer leave two versions", () => {
  const { chat, reply } = talk();
  const other = structuredClone(chat);
  Object.assign(reply, { content: "a long end", revision: 5 });
  Object.assign(other.messages[reply.id], { content: "a short end", revision: 4 });
  const back = structuredClone(other);
  absorb(chat, other);
  absorb(other, chat);
  absorb(chat, back);
  assert.deepEqual(versions(chat, reply).map((m) => m.content).sort(), ["a long end", "a short end"]);
  assert.deepEqual(shape(chat), shape(other));
});

test("random histories of three tabs end alike, and hold every message", () => {
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
      else absorb(tab, structuredClone(all[random(3)]));
    }
    for (let again = 0; again < 3; again += 1) for (const a of all) for (const b of all) if (a !== b) absorb(a, structuredClone(b));
    assert.deepEqual(shape(all[0]), shape(all[1]));
    assert.deepEqual(shape(all[1]), shape(all[2]));
    for (const id of said) assert.ok(all[0].messages[id], id);
    for (const tab of all) branch(tab); // every parent is there
  }
});

test("a page that goes leaves the way to its answer", () => {
  const { chat, question, reply } = talk();
  const side = addMessage(chat, question.id, "assistant", answer({ content: "other" }));
  const left = fragment(chat, reply);
  assert.deepEqual(Object.keys(left.messages).sort(), [question.id, reply.id].sort());
  assert.equal(left.leaf, reply.id);
  const fresh = JSON.parse(JSON.stringify(left));
  absorb(fresh, chat);
  assert.ok(fresh.messages[side.id]);
});

test("what can be continued", () => {
  const model = { id: "m", thinks: true, examples: [] };
  assert.equal(canContinue(answer({ content: "x" }), model), true);
  assert.equal(canContinue(answer({ reasoning: "x", finish: "length" }), model), true);
  assert.equal(canContinue(answer({ content: "x", finish: "stopped" }), model), true);
  assert.equal(canContinue(answer({ content: "x", error: { kind: "broken" } }), model), true);
  for (const no of [answer(), answer({ content: "x", finish: "stop" }), answer({ content: "x", error: { kind: "refused" } })]) assert.equal(canContinue(no, model), false);
  assert.equal(canContinue(answer({ content: "x" }), { ...model, examples: ["1+1"] }), false);
});

test("files go before the question, in fences that hold them", () => {
  assert.equal(withFiles("Why?", [{ name: "a.py", text: "x = 1\n" }]), "File: a.py\n```py\nx = 1\n```\n\nWhy?");
  assert.match(withFiles("", [{ name: "a", text: "```\n````" }]), /^File: a\n`{5}\n```\n````\n`{5}$/);
  assert.equal(withFiles("q", undefined), "q");
  const chat = newChat();
  addMessage(chat, null, "user", { content: "", files: [{ name: "notes.txt", text: "hi" }] });
  assert.equal(chat.title, "notes.txt");
  assert.deepEqual(history(chat), [{ role: "user", content: "File: notes.txt\n```txt\nhi\n```" }]);
  assert.deepEqual(history(importChats(exportChats([chat]))[0]), history(chat));
});

test("text files are read, others are refused by name", async () => {
  const bytes = (...all) => new Uint8Array(all);
  const texts = [
    [[0xef, 0xbb, 0xbf, 0x61, 0x0d, 0x0a], "a\n", "utf-8"],
    [[0xff, 0xfe, 0x61, 0], "a", "utf-16le"],
    [[0xfe, 0xff, 0, 0x61], "a", "utf-16be"],
    [[0xc3, 0xa9, 0x1b], "é\u001b", "utf-8"],
    [[...Buffer.from("café naïve\r\n", "latin1")], "café naïve\n", "windows-1252"],
    [[], "", "utf-8"],
  ];
  for (const [of, text, encoding] of texts) assert.deepEqual(decode(bytes(...of)), { text, encoding });
  const none = [[0x61, 0, 0x62], [0xff, 0xd8, 0xff, 0xe0, 0, 0x10], [0xe9, 0x1b], [0xe9, 0x81], [0xff, 0xfe, 0x61], [0xff, 0xfe, 0, 0xd8], [0x1f, 0x8b, 0x08, 0xff]];
  for (const of of none) assert.equal(decode(bytes(...of)), null, String(of));
  const file = (name, ...parts) => Object.assign(new Blob(parts), { name });
  assert.deepEqual(await readAttachment(file("a.txt", "é")), { name: "a.txt", text: "é", encoding: "utf-8" });
  await assert.rejects(readAttachment(file("p.png", bytes(0x89, 0x50, 0xff, 0x1a))), /“p.png” is not a text file. Save its text as UTF-8/);
  for (const nothing of [bytes(), bytes(0xef, 0xbb, 0xbf), bytes(0xff, 0xfe)]) await assert.rejects(readAttachment(file("a.txt", nothing)), /“a.txt” is empty. Save/);
  await assert.rejects(readAttachment(file("big.txt", new Uint8Array((1 << 20) + 1))), /“big.txt” is longer than 1.0 MB. Attach the part/);
});

test("a chat as Markdown holds all that is shown", () => {
  const { chat, reply } = talk();
  Object.assign(reply, { reasoning: "hm", content: "**a**", finish: "stopped" });
  const out = chatAsMarkdown(chat);
  assert.equal(out, "# q\n\n## Question\n\nq\n\n## Answer (m)\n\n<details>\n<summary>Thought</summary>\n\nhm\n\n</details>\n\n**a**\n\n*(stopped)*\n");
  assert.equal(fileName("What is 1 + 1?", "md"), "What-is-1-1.md");
  assert.equal(fileName("???", "md"), "chat.md");
});

test("a model of few tasks begins with its own questions, others with what they are for", () => {
  const model = { id: "m", thinks: false, examples: [] };
  assert.deepEqual(beginnings({ ...model, examples: ["47 + 85"] }), [[null, "47 + 85"]]);
  const names = [beginnings({ ...model, thinks: true }), beginnings({ ...model, id: "Qwen2.5-Coder-0.5B" }), beginnings(model)].map((all) => all[0][0]);
  assert.equal(new Set(names).size, 3, String(names));
  assert.deepEqual(beginnings(null), []);
});
