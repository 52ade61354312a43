// Streams one answer into its message, and measures it.

import { explain, requestBody, streamChat } from "./api.js";
import { addMessage, requestMessages } from "./chat.js";

const REDRAW_MS = 100; // for the running clock
const SAVE_MS = 1000; // for an unfinished answer

const emptyAnswer = (model) => ({ reasoning: "", content: "", model: model?.id ?? "", stats: {}, finish: null, cut: null, error: null });

/**
 * Starts the answer to the message `parent`, in a new message or in `into`: a non-empty answer is continued, an empty
 * one restarted. Calls `changed` to redraw and `save` to save. Returns the run: `{message, elapsed, stop(), abandon(),
 * done}`. The promise `done` always resolves to the message; errors go into `message.error`.
 */
export function startAnswer(chat, parent, { settings, model, changed, save, into = null }) {
  const messages = requestMessages(chat, parent);
  const begun = into && (into.content || into.reasoning) ? into : null;
  const body = (asText) => requestBody(messages, settings, model, begun && { reasoning: begun.reasoning, content: begun.content, asText });
  const message = into ?? addMessage(chat, parent, "assistant", emptyAnswer(model));
  if (into && !begun) Object.assign(into, emptyAnswer(model));
  const before = begun ? { stats: { ...begun.stats }, finish: begun.finish, error: begun.error } : null;
  Object.assign(message, { finish: null, error: null });
  const controller = new AbortController();
  const started = performance.now() - (before?.stats.totalMs ?? 0);
  const run = { message, before, abandoned: false, stop: () => controller.abort(), abandon: () => (run.abandoned = true), get elapsed() { return performance.now() - started; } };
  const clock = setInterval(changed, REDRAW_MS);
  const saver = setInterval(save, SAVE_MS);
  const bodies = begun?.reasoning && !begun.content ? [body(false), body(true)] : [body(false)];
  run.done = consume(run, firstAccepted(bodies, (b) => streamChat(b, settings.key, controller.signal)), changed).finally(() => {
    clearInterval(clock);
    clearInterval(saver);
  });
  return run;
}

// Yields the answer to the first of `bodies` that the server accepts.
async function* firstAccepted(bodies, ask) {
  for (const [i, body] of bodies.entries()) {
    try {
      return yield* ask(body);
    } catch (error) {
      if (error.kind !== "refused" || i + 1 === bodies.length) throw error;
    }
  }
}

async function consume(run, pieces, changed) {
  const { message, before } = run;
  try {
    for await (const piece of pieces) {
      run.receivedText ||= Boolean(piece.reasoning || piece.content);
      applyPiece(message, piece, run.elapsed, before?.stats);
      changed();
    }
  } catch (error) {
    if (run.abandoned) return message; // the page is closing
    if (error.name === "AbortError") message.finish = "stopped";
    else if (before && error.status < 500) rejectContinuation(run, error);
    else message.error = { kind: error.kind ?? "failed", ...explain(error) };
  }
  const { stats } = message;
  message.revision = (message.revision ?? 0) + 1;
  stats.totalMs = run.elapsed;
  if (message.reasoning && stats.thoughtMs === undefined) stats.thoughtMs = stats.totalMs - stats.firstMs;
  return message;
}

// The server rejected the request to continue the answer, which stays as it was.
function rejectContinuation(run, error) {
  run.refused = error;
  Object.assign(run.message, { finish: run.before.finish, error: run.before.error });
}

/**
 * Adds a piece of the stream to the message. Token counts count pieces until the server sends exact ones. `before`
 * holds the counts of an answer that is being continued.
 */
export function applyPiece(message, piece, elapsed, before = {}) {
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
  // Models put line breaks between the thought and the answer.
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
