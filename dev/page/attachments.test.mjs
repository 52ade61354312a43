// attachments.js: reading text files, and how a question contains them.

import { test } from "node:test";
import assert from "node:assert/strict";
import { decode, readAttachment, withFiles } from "../../crates/meno-server/web/app/attachments.js";
import { addMessage, newChat, requestMessages } from "../../crates/meno-server/web/app/chat.js";
import { exportChats, importChats } from "../../crates/meno-server/web/app/chat-files.js";

test("files precede the question, each in a fence that contains it", () => {
  assert.equal(withFiles("Why?", [{ name: "a.py", text: "x = 1\n" }]), "File: a.py\n```py\nx = 1\n```\n\nWhy?");
  assert.match(withFiles("", [{ name: "a", text: "```\n````" }]), /^File: a\n`{5}\n```\n````\n`{5}$/);
  assert.equal(withFiles("q", undefined), "q");
  const chat = newChat();
  addMessage(chat, null, "user", { content: "", files: [{ name: "notes.txt", text: "hi" }] });
  assert.equal(chat.title, "notes.txt");
  assert.deepEqual(requestMessages(chat), [{ role: "user", content: "File: notes.txt\n```txt\nhi\n```" }]);
  assert.deepEqual(requestMessages(importChats(exportChats([chat]))[0]), requestMessages(chat));
});

test("text files are read, others are rejected with their name", async () => {
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
