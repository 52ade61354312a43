// sse.js, api.js and answer-stream.js: from bytes to a message and its numbers.

import { test } from "node:test";
import assert from "node:assert/strict";
import { EventReader } from "../../crates/meno-server/web/app/sse.js";
import { readChunk, ServerError } from "../../crates/meno-server/web/app/api.js";
import { applyPiece } from "../../crates/meno-server/web/app/answer-stream.js";
import { tokensPerSecond } from "../../crates/meno-server/web/app/stats.js";

const encode = (text) => new TextEncoder().encode(text);

test("events are parsed however the bytes are split", () => {
  const streams = [
    ["data: {\"a\":\"é😀\"}\n\ndata: two\n\n", ['{"a":"é😀"}', "two"]],
    ["data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]],
    ["data: a\r\rdata: b\r\r", ["a", "b"]],
    [": comment\n\nevent: x\nid: 1\ndata: a\ndata:  b\ndata:c\n\n\n\n", ["a\n b\nc"]],
    ["data: last, without its empty line", ["last, without its empty line"]],
    ["data: [DONE]\n", ["[DONE]"]],
    ["data:\n\n", [""]],
  ];
  for (const [text, expected] of streams) {
    const bytes = encode(text);
    for (let first = 0; first <= bytes.length; first += 1) {
      for (let second = first; second <= bytes.length; second += 1) {
        const reader = new EventReader();
        const events = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)].flatMap((b) => reader.push(b));
        assert.deepEqual([...events, ...reader.end()], expected, `${JSON.stringify(text)} cut at ${first}, ${second}`);
      }
    }
  }
});

test("chunks are read field by field, and an error in the stream is thrown", () => {
  const piece = readChunk('{"model":"m","choices":[{"delta":{"reasoning_content":"t","reasoning":"t"},"finish_reason":null}]}');
  assert.deepEqual([piece.reasoning, piece.content, piece.finish, piece.model], ["t", "", null, "m"]);
  assert.equal(readChunk('{"choices":[{"delta":{"reasoning":"only"}}]}').reasoning, "only");
  assert.deepEqual(readChunk('{"choices":[],"usage":{"completion_tokens":3}}').usage, { completion_tokens: 3 });
  for (const odd of ["null", "[]", "3", '{"choices":[null]}', '{"choices":[{"delta":null}]}', '{"choices":[{"delta":{"content":5}}]}']) assert.equal(readChunk(odd).content, "", odd);
  assert.throws(() => readChunk('{"error":{"message":"out of memory"}}'), /out of memory/);
  assert.throws(() => readChunk("{"), ServerError);
});

test("a message collects its pieces and their times", () => {
  const message = { content: "", reasoning: "", stats: {}, finish: null, cut: null };
  const piece = (fields) => ({ reasoning: "", content: "", finish: null, cut: null, usage: null, model: null, ...fields });
  applyPiece(message, piece({ model: "m" }), 5);
  applyPiece(message, piece({ reasoning: "so " }), 100);
  applyPiece(message, piece({ reasoning: "be it" }), 200);
  applyPiece(message, piece({ content: "\n\n" }), 300);
  applyPiece(message, piece({ content: "Yes" }), 400);
  assert.deepEqual(message.stats, { firstMs: 100, lastMs: 400, completionTokens: 4, reasoningTokens: 2, thoughtMs: 300 });
  applyPiece(message, piece({ finish: "stop", usage: { completion_tokens: 9, prompt_tokens: 7, prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 5 } } }), 500);
  assert.deepEqual([message.content, message.reasoning, message.finish, message.model], ["Yes", "so be it", "stop", "m"]);
  assert.deepEqual([message.stats.completionTokens, message.stats.reasoningTokens, message.stats.promptTokens, message.stats.cachedTokens], [9, 5, 7, 4]);
});

test("a continued answer keeps its beginning, and its counts add up", () => {
  const message = { content: "one", reasoning: "", stats: { completionTokens: 5, firstMs: 10, totalMs: 100 }, revision: 3 };
  const before = { ...message.stats };
  const piece = (fields) => ({ reasoning: "", content: "", finish: null, cut: null, usage: null, model: null, ...fields });
  applyPiece(message, piece({ content: " two" }), 150, before);
  applyPiece(message, piece({ finish: "stop", usage: { completion_tokens: 2, prompt_tokens: 9 } }), 160, before);
  assert.deepEqual([message.content, message.stats.completionTokens, message.stats.firstMs, message.revision], ["one two", 7, 10, 5]);
});

test("a speed needs enough time to measure it", () => {
  const speed = (completionTokens, firstMs, lastMs, totalMs = lastMs) => tokensPerSecond({ completionTokens, firstMs, lastMs, totalMs });
  assert.equal(speed(101, 500, 2500), 50);
  assert.equal(speed(101, 500, 2500, 9000), 50, "the wait after the last token does not count");
  assert.equal(tokensPerSecond({ completionTokens: 101, firstMs: 500, totalMs: 2500 }), 50, "chats of an older page");
  for (const nothing of [speed(39, 20, 20.2), speed(39, 20, 20), speed(39, 20, 60), speed(1, 20, 2000), speed(undefined, undefined, undefined)]) assert.equal(nothing, null);
});
