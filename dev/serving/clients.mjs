// The AI SDK against a running `meno serve`, over both APIs, one line of JSON for each feature: `clients.mjs URL MODEL`.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import assert from "node:assert/strict";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const [url, name] = process.argv.slice(2);
const options = { temperature: 0, maxOutputTokens: 200, maxRetries: 0 };
const france = "What is the capital of France? Answer in one word.";
const weather = tool({
  description: "Weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async () => ({ celsius: -3, sky: "snow" }),
});

async function check(client, feature, work) {
  let why = "";
  try {
    await work();
  } catch (error) {
    why = String(error).slice(0, 400);
  }
  console.log(JSON.stringify({ client, feature, ok: why === "", why }));
}

const openai = createOpenAICompatible({
  name: "meno", baseURL: `${url}/v1`, apiKey: "none", supportsStructuredOutputs: true, includeUsage: true,
});
const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: "none" });

for (const [client, model] of [["AI SDK (OpenAI)", openai(name)], ["AI SDK (Anthropic)", anthropic(name)]]) {
  await check(client, "answer", async () => {
    const { text, usage } = await generateText({ model, prompt: france, ...options });
    assert.match(text, /paris/i);
    assert.ok(usage.outputTokens > 0);
  });
  await check(client, "stream", async () => {
    let text = "";
    for await (const part of streamText({ model, prompt: france, ...options }).textStream) text += part;
    assert.match(text, /paris/i);
  });
  await check(client, "stop strings", async () => {
    const prompt = "Count from 1 to 5, separated by spaces, digits only.";
    const { text } = await generateText({ model, prompt, stopSequences: ["3"], ...options });
    assert.ok(text.includes("2") && !text.includes("3"), text);
  });
  await check(client, "tools", async () => {
    const prompt = "What is the weather in Oslo right now? Use the tool.";
    const { steps, text } = await generateText({
      model, prompt, tools: { get_weather: weather }, stopWhen: stepCountIs(2), ...options,
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "auto" }),
    });
    assert.ok(steps[0].toolCalls[0].input.city);
    assert.match(text, /snow|-3/i);
  });
  await check(client, "structured output", async () => {
    const output = Output.object({ schema: z.object({ name: z.string(), age: z.number().int() }) });
    const prompt = "Ada is 36 years old. Give her name and age as JSON.";
    const { output: person } = await generateText({ model, prompt, output, ...options });
    assert.ok(person.name.startsWith("Ada") && person.age === 36, JSON.stringify(person));
  });
  await check(client, "errors by their class", async () => {
    const other = client.includes("OpenAI") ? openai("other") : anthropic("other");
    await assert.rejects(generateText({ model: other, prompt: "x", ...options }),
      (error) => APICallError.isInstance(error) && error.statusCode === 404);
  });
}
await check("AI SDK (Anthropic)", "thoughts", async () => {
  const prompt = "First think between <think> and </think>, then answer. What is 17 + 25?";
  const { reasoningText } = await generateText({
    model: anthropic(name), prompt, maxOutputTokens: 200, maxRetries: 0,
    providerOptions: { anthropic: { thinking: { type: "enabled", budgetTokens: 60 } } },
  });
  assert.ok(reasoningText);
});
await check("AI SDK (OpenAI)", "embeddings", async () => {
  const { embeddings } = await embedMany({ model: openai.embeddingModel(name), values: ["a", "b"] });
  assert.equal(embeddings.length, 2);
});
