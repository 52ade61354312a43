import { test } from "node:test";
import assert from "node:assert/strict";
import { EventReader } from "../../crates/meno-server/web/app/sse.js";
import { explain, readChunk, readModels, requestBody, ServerError } from "../../crates/meno-server/web/app/api.js";
import { take } from "../../crates/meno-server/web/app/run.js";
import { perSecond } from "../../crates/meno-server/web/app/conversation.js";
import { DEFAULTS, readSettings } from "../../crates/meno-server/web/app/store.js";

const encode = (text) => new TextEncoder().encode(text);

test("events survive every cut, in the middle of a character too", () => {
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

test("chunks are read field by field, and an error in the stream is an error", () => {
  const piece = readChunk('{"model":"m","choices":[{"delta":{"reasoning_content":"t","reasoning":"t"},"finish_reason":null}]}');
  assert.deepEqual([piece.reasoning, piece.content, piece.finish, piece.model], ["t", "", null, "m"]);
  assert.equal(readChunk('{"choices":[{"delta":{"reasoning":"only"}}]}').reasoning, "only");
  assert.deepEqual(readChunk('{"choices":[],"usage":{"completion_tokens":3}}').usage, { completion_tokens: 3 });
  for (const odd of ["null", "[]", "3", '{"choices":[null]}', '{"choices":[{"delta":null}]}', '{"choices":[{"delta":{"content":5}}]}']) assert.equal(readChunk(odd).content, "", odd);
  assert.throws(() => readChunk('{"error":{"message":"out of memory"}}'), /out of memory/);
  assert.throws(() => readChunk("{"), ServerError);
});

test("a message gathers its pieces and their times", () => {
  const message = { content: "", reasoning: "", stats: {}, finish: null, cut: null };
  const piece = (fields) => ({ reasoning: "", content: "", finish: null, cut: null, usage: null, model: null, ...fields });
  take(message, piece({ model: "m" }), 5);
  take(message, piece({ reasoning: "so " }), 100);
  take(message, piece({ reasoning: "be it" }), 200);
  take(message, piece({ content: "\n\n" }), 300);
  take(message, piece({ content: "Yes" }), 400);
  assert.deepEqual(message.stats, { firstMs: 100, lastMs: 400, completionTokens: 4, reasoningTokens: 2, thoughtMs: 300 });
  take(message, piece({ finish: "stop", usage: { completion_tokens: 9, prompt_tokens: 7, prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 5 } } }), 500);
  assert.deepEqual([message.content, message.reasoning, message.finish, message.model], ["Yes", "so be it", "stop", "m"]);
  assert.deepEqual([message.stats.completionTokens, message.stats.reasoningTokens, message.stats.promptTokens, message.stats.cachedTokens], [9, 5, 7, 4]);
});

test("a speed is shown only where there was time to measure one", () => {
  const speed = (completionTokens, firstMs, lastMs, totalMs = lastMs) => perSecond({ completionTokens, firstMs, lastMs, totalMs });
  assert.equal(speed(101, 500, 2500), 50);
  assert.equal(speed(101, 500, 2500, 9000), 50, "the wait after the last token does not count");
  assert.equal(perSecond({ completionTokens: 101, firstMs: 500, totalMs: 2500 }), 50, "chats of an older page");
  for (const nothing of [speed(39, 20, 20.2), speed(39, 20, 20), speed(39, 20, 60), speed(1, 20, 2000), speed(undefined, undefined, undefined)]) assert.equal(nothing, null);
});

const MODEL = { id: "m", thinks: true, context: null, examples: [] };

test("a request says what was set and nothing else", () => {
  const messages = [{ role: "user", content: "q" }];
  assert.deepEqual(requestBody(messages, DEFAULTS, null), { messages, stream: true, stream_options: { include_usage: true } });
  const settings = { ...DEFAULTS, system: " be brief ", temperature: 0, top_k: 5, max_tokens: 9, seed: 0, thinking_budget: 64 };
  assert.deepEqual(requestBody(messages, settings, MODEL), {
    messages: [{ role: "system", content: "be brief" }, ...messages], stream: true, stream_options: { include_usage: true }, model: "m", temperature: 0, top_k: 5, seed: 0, max_completion_tokens: 9, thinking_budget: 64,
  });
  assert.deepEqual(requestBody(messages, { ...settings, thinking: false }, MODEL).chat_template_kwargs, { enable_thinking: false });
});

test("a request to a model that does not think says nothing of thinking", () => {
  for (const thinking of [true, false]) {
    const body = requestBody([], { ...DEFAULTS, thinking, thinking_budget: 64 }, { ...MODEL, thinks: false });
    assert.deepEqual(Object.keys(body).sort(), ["messages", "model", "stream", "stream_options"]);
  }
  assert.deepEqual(readModels({ data: [{ id: "m", thinks: true, max_model_len: 512, description: "d", examples: ["1+1", 2] }, { id: 3 }, { id: "n" }] }), [
    { id: "m", thinks: true, context: 512, description: "d", examples: ["1+1"] }, { id: "n", thinks: false, context: null, description: "", examples: [] }]);
  assert.deepEqual(readModels(null), []);
});

test("an answer that is continued is the last message, with vLLM's names", () => {
  const body = (begun) => requestBody([{ role: "user", content: "q" }], DEFAULTS, MODEL, begun);
  const last = (begun) => body(begun).messages.at(-1);
  assert.deepEqual([body({ reasoning: "", content: "a" }).continue_final_message, body({ reasoning: "", content: "a" }).add_generation_prompt], [true, false]);
  assert.deepEqual(last({ reasoning: "", content: "a" }), { role: "assistant", content: "a" });
  assert.deepEqual(last({ reasoning: "t", content: "a" }), { role: "assistant", content: "a", reasoning_content: "t" });
  assert.deepEqual(last({ reasoning: "t", content: "" }), { role: "assistant", content: "", reasoning_content: "t" });
  assert.deepEqual(last({ reasoning: "t", content: "", asText: true }), { role: "assistant", content: "<think>\nt" });
});

test("an answer that is continued keeps its beginning, and its figures add up", () => {
  const message = { content: "one", reasoning: "", stats: { completionTokens: 5, firstMs: 10, totalMs: 100 }, revision: 3 };
  const before = { ...message.stats };
  const piece = (fields) => ({ reasoning: "", content: "", finish: null, cut: null, usage: null, model: null, ...fields });
  take(message, piece({ content: " two" }), 150, before);
  take(message, piece({ finish: "stop", usage: { completion_tokens: 2, prompt_tokens: 9 } }), 160, before);
  assert.deepEqual([message.content, message.stats.completionTokens, message.stats.firstMs, message.revision], ["one two", 7, 10, 5]);
});

test("kept settings of any shape are made whole", () => {
  for (const text of [null, "", "{", "null", "[]", "7", '"x"']) assert.deepEqual(readSettings(text), DEFAULTS, String(text));
  const read = readSettings('{"temperature":"hot","top_p":0.5,"thinking":1,"system":"s","seed":null,"__proto__":{"x":1},"more":2}');
  assert.deepEqual(read, { ...DEFAULTS, top_p: 0.5, system: "s" });
});

test("every kind of error has words and says what to do", () => {
  for (const kind of ["unreachable", "key", "busy", "slow", "long", "broken", "missing", "refused", "failed", "never heard of"]) {
    const { title, text } = explain(new ServerError(kind, "the server's own words", { retryAfter: 7 }));
    assert.ok(title.length > 5 && text.length > 5, kind);
  }
  assert.match(explain(new ServerError("busy", "full.", { retryAfter: 7 })).text, /full.*7 s/);
});
