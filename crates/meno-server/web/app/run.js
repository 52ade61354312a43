// One answer while it is written: what arrives goes into its message, with the times that are shown below it.

import { explain, requestBody, streamChat } from "./api.js";
import { addMessage, history } from "./chat.js";

const TICK_MS = 100; // how often the running clock is drawn
const KEEP_MS = 1000; // how often an unfinished answer is kept

const fresh = (model) => ({ reasoning: "", content: "", model: model?.id ?? "", stats: {}, finish: null, cut: null, error: null });

/**
 * Starts the answer to the message `parent`. An answer `into` which it comes, instead of a new one, is continued where it
 * stops, or begun again where it is empty. Returns `{message, elapsed, stop(), leave(), done}`, where `done` gives the
 * message when it is finished, whatever happened; `changed` is called when there is something new to draw, `keep` to save.
 */
export function answerTo(chat, parent, { settings, model, changed, keep, into = null }) {
  const messages = history(chat, parent);
  const begun = into && (into.content || into.reasoning) ? into : null;
  const body = (asText) => requestBody(messages, settings, model, begun && { reasoning: begun.reasoning, content: begun.content, asText });
  const message = into ?? addMessage(chat, parent, "assistant", fresh(model));
  if (into && !begun) Object.assign(into, fresh(model));
  const before = begun ? { stats: { ...begun.stats }, finish: begun.finish, error: begun.error } : null;
  Object.assign(message, { finish: null, error: null });
  const controller = new AbortController();
  const started = performance.now() - (before?.stats.totalMs ?? 0);
  const run = { message, before, left: false, stop: () => controller.abort(), leave: () => (run.left = true), get elapsed() { return performance.now() - started; } };
  const clock = setInterval(changed, TICK_MS);
  const keeper = setInterval(keep, KEEP_MS);
  const bodies = begun?.reasoning && !begun.content ? [body(false), body(true)] : [body(false)];
  run.done = follow(run, firstTaken(bodies, (b) => streamChat(b, settings.key, controller.signal)), changed).finally(() => {
    clearInterval(clock);
    clearInterval(keeper);
  });
  return run;
}

// The pieces of the answer to the first of `bodies` that the server takes.
async function* firstTaken(bodies, ask) {
  for (const [i, body] of bodies.entries()) {
    try {
      return yield* ask(body);
    } catch (error) {
      if (error.kind !== "refused" || i + 1 === bodies.length) throw error;
    }
  }
}

async function follow(run, pieces, changed) {
  const { message, before } = run;
  try {
    for await (const piece of pieces) {
      run.heard ||= Boolean(piece.reasoning || piece.content);
      take(message, piece, run.elapsed, before?.stats);
      changed();
    }
  } catch (error) {
    if (run.left) return message; // the page goes, and its connections with it
    if (error.name === "AbortError") message.finish = "stopped";
    else if (before && error.status < 500) refuse(run, error);
    else message.error = { kind: error.kind ?? "failed", ...explain(error) };
  }
  const { stats } = message;
  message.revision = (message.revision ?? 0) + 1;
  stats.totalMs = run.elapsed;
  if (message.reasoning && stats.thoughtMs === undefined) stats.thoughtMs = stats.totalMs - stats.firstMs;
  return message;
}

// A server that does not continue an answer leaves it as it was.
function refuse(run, error) {
  run.refused = error;
  Object.assign(run.message, { finish: run.before.finish, error: run.before.error });
}

/**
 * Puts a piece of the stream into the message; exact counts replace counted pieces when they come. `before` are the
 * figures of an answer that is continued.
 */
export function take(message, piece, elapsed, before = {}) {
  const { stats } = message;
  message.revision = (message.revision ?? 0) + 1;
  if (piece.reasoning || piece.content) {
    stats.firstMs ??= elapsed;
    stats.lastMs = elapsed;
    stats.completionTokens = (stats.completionTokens ?? 0) + 1;
    if (piece.reasoning) stats.reasoningTokens = (stats.reasoningTokens ?? 0) + 1;
  }
  if (piece.reasoning && !message.content) delete stats.thoughtMs;
  message.reasoning += piece.reasoning;
  // Models put line ends between thought and answer.
  message.content += message.content ? piece.content : piece.content.trimStart();
  if (message.content && message.reasoning && stats.thoughtMs === undefined) stats.thoughtMs = elapsed - stats.firstMs;
  if (piece.finish) message.finish = piece.finish;
  if (piece.cut) message.cut = piece.cut;
  if (piece.model) message.model = piece.model;
  if (!piece.usage) return;
  stats.completionTokens = (before?.completionTokens ?? 0) + piece.usage.completion_tokens;
  stats.promptTokens = piece.usage.prompt_tokens;
  stats.cachedTokens = piece.usage.prompt_tokens_details?.cached_tokens ?? 0;
  const exact = piece.usage.completion_tokens_details?.reasoning_tokens;
  if (exact || message.reasoning) stats.reasoningTokens = exact ? (before?.reasoningTokens ?? 0) + exact : stats.reasoningTokens;
}
