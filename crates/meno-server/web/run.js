// One answer while it is written: what arrives goes into its message, with the times that are told of it.

import { explain, requestBody, streamChat } from "./api.js";
import { addMessage, history } from "./chat.js";

const TICK_MS = 100; // how often the running clock is drawn
const KEEP_MS = 2000; // how often an unfinished answer is kept

/**
 * Starts the answer to the message `parent`. Returns `{message, elapsed, stop(), done}`, where `done` gives the message
 * when it is finished, whatever happened; `changed` is called when there is something new to draw, `keep` to save.
 */
export function answerTo(chat, parent, { settings, model, changed, keep }) {
  const messages = history(chat, parent);
  const message = addMessage(chat, parent, "assistant", { reasoning: "", model, stats: {}, finish: null, cut: null, error: null });
  const controller = new AbortController();
  const started = performance.now();
  const run = { message, stop: () => controller.abort(), get elapsed() { return performance.now() - started; } };
  const clock = setInterval(changed, TICK_MS);
  const keeper = setInterval(keep, KEEP_MS);
  run.done = follow(run, streamChat(requestBody(messages, settings, model), settings.key, controller.signal), changed).finally(() => {
    clearInterval(clock);
    clearInterval(keeper);
  });
  return run;
}

async function follow(run, pieces, changed) {
  const { message } = run;
  try {
    for await (const piece of pieces) {
      take(message, piece, run.elapsed);
      changed();
    }
  } catch (error) {
    if (error.name === "AbortError") message.finish = "stopped";
    else message.error = { kind: error.kind ?? "failed", ...explain(error) };
  }
  const { stats } = message;
  stats.totalMs = run.elapsed;
  if (message.reasoning && stats.thoughtMs === undefined) stats.thoughtMs = stats.totalMs - stats.firstMs;
  return message;
}

/** Puts a piece of the stream into the message; exact counts replace counted pieces when they come. */
export function take(message, piece, elapsed) {
  const { stats } = message;
  if (piece.reasoning || piece.content) {
    stats.firstMs ??= elapsed;
    stats.completionTokens = (stats.completionTokens ?? 0) + 1;
    if (piece.reasoning) stats.reasoningTokens = (stats.reasoningTokens ?? 0) + 1;
  }
  message.reasoning += piece.reasoning;
  // Models put line ends between thought and answer.
  message.content += message.content ? piece.content : piece.content.trimStart();
  if (message.content && message.reasoning && stats.thoughtMs === undefined) stats.thoughtMs = elapsed - stats.firstMs;
  if (piece.finish) message.finish = piece.finish;
  if (piece.cut) message.cut = piece.cut;
  if (piece.model) message.model = piece.model;
  if (!piece.usage) return;
  stats.completionTokens = piece.usage.completion_tokens;
  stats.promptTokens = piece.usage.prompt_tokens;
  stats.cachedTokens = piece.usage.prompt_tokens_details?.cached_tokens ?? 0;
  const exact = piece.usage.completion_tokens_details?.reasoning_tokens;
  if (exact || message.reasoning) stats.reasoningTokens = exact ?? stats.reasoningTokens;
}
