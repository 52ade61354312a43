// The server as the page sees it: which models it has, and an answer as it comes.

import { EventReader } from "./sse.js";

/** What went wrong, in a form that the page can put into words. */
export class ServerError extends Error {
  constructor(kind, message, details = {}) {
    super(message);
    this.kind = kind;
    Object.assign(this, details);
  }
}

const headers = (key) => ({ "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) });

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("unreachable", "The server does not answer.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

const KINDS = { 401: "key", 403: "key", 404: "missing", 413: "long", 429: "busy", 503: "busy", 504: "slow" };

async function refusal(response) {
  let message = `The server answered with status ${response.status}.`;
  let code = null;
  try {
    const { error } = await response.json();
    if (typeof error?.message === "string") message = error.message;
    code = error?.code ?? null;
  } catch {
    // Not the error object: the status says what there is to say.
  }
  const kind = code === "context_length_exceeded" ? "long" : (KINDS[response.status] ?? (response.status < 500 ? "refused" : "failed"));
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ServerError(kind, message, { status: response.status, retryAfter: Number.isFinite(after) ? after : null });
}

/** The models that are served: `{id, thinks, context, description, examples}`; the last two describe one that knows few tasks. */
export async function listModels(key) {
  const response = await request("v1/models", { headers: headers(key) });
  return readModels(await response.json());
}

export function readModels(body) {
  const models = Array.isArray(body?.data) ? body.data.filter((model) => typeof model?.id === "string") : [];
  return models.map(({ id, thinks, max_model_len: context, description, examples }) => ({
    id, thinks: thinks === true, context: Number.isFinite(context) ? context : null, description: typeof description === "string" ? description : "",
    examples: Array.isArray(examples) ? examples.filter((example) => typeof example === "string") : [],
  }));
}

/**
 * The body of a request for the answer to `messages`, by a model as `listModels` gives it. `begun` is an answer that
 * the model should continue: `{reasoning, content, asText}`.
 */
export function requestBody(messages, settings, model, begun = null) {
  const body = { messages, stream: true, stream_options: { include_usage: true } };
  if (model?.id) body.model = model.id;
  if (settings.system.trim()) body.messages = [{ role: "system", content: settings.system.trim() }, ...messages];
  for (const name of ["temperature", "top_p", "top_k", "min_p", "seed"]) if (settings[name] !== null) body[name] = settings[name];
  if (settings.max_tokens !== null) body.max_completion_tokens = settings.max_tokens;
  if (begun) {
    body.messages = [...body.messages, begunMessage(begun)];
    // vLLM's names: the last message is not closed, and none is begun after it.
    Object.assign(body, { continue_final_message: true, add_generation_prompt: false });
  }
  if (model && !model.thinks) return body;
  if (!settings.thinking && !begun?.reasoning) body.chat_template_kwargs = { enable_thinking: false };
  else if (settings.thinking && settings.thinking_budget !== null) body.thinking_budget = settings.thinking_budget;
  return body;
}

// A thought is given as the server gave it or, `asText`, in the answer's own words: some templates leave thoughts out of
// the messages that they write.
function begunMessage({ reasoning, content, asText = false }) {
  if (!reasoning) return { role: "assistant", content };
  if (asText && !content) return { role: "assistant", content: `<think>\n${reasoning}` };
  return { role: "assistant", content, reasoning_content: reasoning };
}

/**
 * The pieces of an answer: `{reasoning, content, finish, cut, usage}`, each field there when it is in the event.
 * Throws a ServerError when the stream breaks off or carries an error.
 */
export async function* streamChat(body, key, signal) {
  const response = await request("v1/chat/completions", { method: "POST", headers: headers(key), body: JSON.stringify(body), signal });
  const reader = new EventReader();
  const bytes = response.body.getReader();
  let finished = false;
  try {
    for (;;) {
      const { done, value } = await read(bytes);
      for (const data of done ? reader.end() : reader.push(value)) {
        if (data === "[DONE]") return;
        const piece = readChunk(data);
        finished ||= Boolean(piece.finish);
        yield piece;
      }
      if (done) break;
    }
  } finally {
    bytes.cancel().catch(() => {});
  }
  if (!finished) throw new ServerError("broken", "The connection broke off in the middle of the answer.");
}

async function read(bytes) {
  try {
    return await bytes.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("broken", "The connection broke off in the middle of the answer.");
  }
}

/** One event's JSON as a piece. */
export function readChunk(data) {
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new ServerError("failed", "The server sent something that is not JSON.");
  }
  if (chunk?.error) throw new ServerError("failed", String(chunk.error.message ?? "The server stopped with an error."));
  const choice = chunk?.choices?.[0];
  const text = (value) => (typeof value === "string" ? value : "");
  return {
    reasoning: text(choice?.delta?.reasoning_content) || text(choice?.delta?.reasoning),
    content: text(choice?.delta?.content),
    finish: choice?.finish_reason ?? null,
    cut: choice?.reasoning_ended_by ?? null,
    usage: chunk?.usage ?? null,
    model: chunk?.model ?? null,
  };
}

/** A title, an explanation and what to do about an error. */
export function explain(error) {
  const after = error.retryAfter ? ` It asks for another try in ${error.retryAfter} s.` : "";
  switch (error.kind) {
    case "unreachable": return { title: "Meno cannot be reached", text: "Is “meno serve” still running? The conversation is kept; try again when it is." };
    case "key": return { title: "This server asks for an API key", text: "Enter the key that “meno serve --api-key” was started with.", settings: true };
    case "busy": return { title: "The server is busy", text: `${error.message}${after}` };
    case "slow": return { title: "The answer took too long", text: error.message };
    case "long": return { title: "The conversation is too long", text: `${error.message} Start a new chat, or edit an earlier message.` };
    case "broken": return { title: "The connection broke off", text: "What had arrived is kept. Continue from there, or try again." };
    case "missing": case "refused": return { title: "The server would not take this", text: error.message, settings: true };
    default: return { title: "The server failed", text: error.message };
  }
}
