// api.js, settings.js and suggestions.js: requests, models, errors, settings.

import { test } from "node:test";
import assert from "node:assert/strict";
import { explain, readModels, requestBody, ServerError } from "../../crates/meno-server/web/app/api.js";
import { DEFAULTS, readSettings } from "../../crates/meno-server/web/app/settings.js";
import { suggestions } from "../../crates/meno-server/web/app/suggestions.js";

const MODEL = { id: "m", thinks: true, context: null, examples: [] };

test("a request contains only what was set", () => {
  const messages = [{ role: "user", content: "q" }];
  assert.deepEqual(requestBody(messages, DEFAULTS, null), { messages, stream: true, stream_options: { include_usage: true } });
  const settings = { ...DEFAULTS, system: " be brief ", temperature: 0, top_k: 5, max_tokens: 9, seed: 0, thinking_budget: 64 };
  assert.deepEqual(requestBody(messages, settings, MODEL), {
    messages: [{ role: "system", content: "be brief" }, ...messages], stream: true, stream_options: { include_usage: true }, model: "m", temperature: 0, top_k: 5, seed: 0, max_completion_tokens: 9, thinking_budget: 64,
  });
  assert.deepEqual(requestBody(messages, { ...settings, thinking: false }, MODEL).chat_template_kwargs, { enable_thinking: false });
});

test("a request to a model without thinking has no thinking parameters", () => {
  for (const thinking of [true, false]) {
    const body = requestBody([], { ...DEFAULTS, thinking, thinking_budget: 64 }, { ...MODEL, thinks: false });
    assert.deepEqual(Object.keys(body).sort(), ["messages", "model", "stream", "stream_options"]);
  }
  assert.deepEqual(readModels({ data: [{ id: "m", thinks: true, max_model_len: 512, description: "d", examples: ["1+1", 2] }, { id: 3 }, { id: "n" }] }), [
    { id: "m", thinks: true, context: 512, description: "d", examples: ["1+1"] }, { id: "n", thinks: false, context: null, description: "", examples: [] }]);
  assert.deepEqual(readModels(null), []);
});

test("a continued answer is the last message, with vLLM's parameters", () => {
  const body = (begun) => requestBody([{ role: "user", content: "q" }], DEFAULTS, MODEL, begun);
  const last = (begun) => body(begun).messages.at(-1);
  assert.deepEqual([body({ reasoning: "", content: "a" }).continue_final_message, body({ reasoning: "", content: "a" }).add_generation_prompt], [true, false]);
  assert.deepEqual(last({ reasoning: "", content: "a" }), { role: "assistant", content: "a" });
  assert.deepEqual(last({ reasoning: "t", content: "a" }), { role: "assistant", content: "a", reasoning_content: "t" });
  assert.deepEqual(last({ reasoning: "t", content: "" }), { role: "assistant", content: "", reasoning_content: "t" });
  assert.deepEqual(last({ reasoning: "t", content: "", asText: true }), { role: "assistant", content: "<think>\nt" });
});

test("malformed settings get their defaults", () => {
  for (const text of [null, "", "{", "null", "[]", "7", '"x"']) assert.deepEqual(readSettings(text), DEFAULTS, String(text));
  const read = readSettings('{"temperature":"hot","top_p":0.5,"thinking":1,"system":"s","seed":null,"__proto__":{"x":1},"more":2}');
  assert.deepEqual(read, { ...DEFAULTS, top_p: 0.5, system: "s" });
});

test("every kind of error has an explanation", () => {
  for (const kind of ["unreachable", "key", "busy", "slow", "long", "broken", "missing", "refused", "failed", "never heard of"]) {
    const { title, text } = explain(new ServerError(kind, "the server's own words", { retryAfter: 7 }));
    assert.ok(title.length > 5 && text.length > 5, kind);
  }
  assert.match(explain(new ServerError("busy", "full.", { retryAfter: 7 })).text, /full.*7 s/);
});

test("suggestions suit the model; a model with examples uses those", () => {
  const model = { id: "m", thinks: false, examples: [] };
  assert.deepEqual(suggestions({ ...model, examples: ["47 + 85"] }), [[null, "47 + 85"]]);
  const names = [suggestions({ ...model, thinks: true }), suggestions({ ...model, id: "Qwen2.5-Coder-0.5B" }), suggestions(model)].map((all) => all[0][0]);
  assert.equal(new Set(names).size, 3, String(names));
  assert.deepEqual(suggestions(null), []);
});
