// The client of the server's API: the list of models, and streaming answers.

import { EventReader } from "./sse.js";

/** An error with a `kind` that `explain` turns into words. */
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
    throw new ServerError("unreachable", "The server does not respond.");
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

const KINDS = { 401: "key", 403: "key", 404: "missing", 413: "long", 429: "busy", 503: "busy", 504: "slow" };

async function errorOf(response) {
  let message = `The server answered with status ${response.status}.`;
  let code = null;
  try {
    const { error } = await response.json();
    if (typeof error?.message === "string") message = error.message;
    code = error?.code ?? null;
  } catch {
    // The body is not an error object; the message gives the status.
  }
  const kind = code === "context_length_exceeded" ? "long" : (KINDS[response.status] ?? (response.status < 500 ? "refused" : "failed"));
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ServerError(kind, message, { status: response.status, retryAfter: Number.isFinite(after) ? after : null });
}

/** The served models: `{id, thinks, context, description, examples}`; the last two only if trained for a few tasks. */
export async function listModels(key) {
  const response = await request("v1/models", { headers: headers(key) });
  return readModels(await response.json());
}

/** Reads the response of `GET /v1/models`; skips malformed entries. */
export function readModels(body) {
  const models = Array.isArray(body?.data) ? body.data.filter((model) => typeof model?.id === "string") : [];
  return models.map(({ id, thinks, max_model_len: context, description, examples }) => ({
    id, thinks: thinks === true, context: Number.isFinite(context) ? context : null, description: typeof description === "string" ? description : "",
    examples: Array.isArray(examples) ? examples.filter((example) => typeof example === "string") : [],
  }));
}

/**
 * The body of a request for an answer to `messages`. `model` comes from `listModels`. `begun` is an answer for the
 * model to continue: `{reasoning, content, asText}`.
 */
export function requestBody(messages, settings, model, begun = null) {
  const body = { messages, stream: true, stream_options: { include_usage: true } };
  if (model?.id) body.model = model.id;
  if (settings.system.trim()) body.messages = [{ role: "system", content: settings.system.trim() }, ...messages];
  for (const name of ["temperature", "top_p", "top_k", "min_p", "seed"]) if (settings[name] !== null) body[name] = settings[name];
  if (settings.max_tokens !== null) body.max_completion_tokens = settings.max_tokens;
  if (begun) {
    body.messages = [...body.messages, begunMessage(begun)];
    // vLLM's parameters: the last message stays open, and no new one starts after it.
    Object.assign(body, { continue_final_message: true, add_generation_prompt: false });
  }
  if (model && !model.thinks) return body;
  if (!settings.thinking && !begun?.reasoning) body.chat_template_kwargs = { enable_thinking: false };
  else if (settings.thinking && settings.thinking_budget !== null) body.thinking_budget = settings.thinking_budget;
  return body;
}

// Sends the thought as `reasoning_content` or, with `asText`, as text: some chat templates drop `reasoning_content`.
function begunMessage({ reasoning, content, asText = false }) {
  if (!reasoning) return { role: "assistant", content };
  if (asText && !content) return { role: "assistant", content: `<think>\n${reasoning}` };
  return { role: "assistant", content, reasoning_content: reasoning };
}

/**
 * Yields the pieces of an answer: `{reasoning, content, finish, cut, usage, model}`. Throws a ServerError if the stream
 * breaks off or contains an error.
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
  if (!finished) throw new ServerError("broken", "The connection was lost in the middle of the answer.");
}

async function read(bytes) {
  try {
    return await bytes.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("broken", "The connection was lost in the middle of the answer.");
  }
}

/** Parses the JSON of one event. */
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

/** Explains an error to the user: `{title, text}`, and `settings` if the settings can fix it. */
export function explain(error) {
  const after = error.retryAfter ? ` It asks for another try in ${error.retryAfter} s.` : "";
  switch (error.kind) {
    case "unreachable": return { title: "Meno cannot be reached", text: "Is “meno serve” still running? The conversation is kept; try again when it is." };
    case "key": return { title: "This server asks for an API key", text: "Enter the key that “meno serve --api-key” was started with.", settings: true };
    case "busy": return { title: "The server is busy", text: `${error.message}${after}` };
    case "slow": return { title: "The answer took too long", text: error.message };
    case "long": return { title: "The conversation is too long", text: `${error.message} Start a new chat, or edit an earlier message.` };
    case "broken": return { title: "The connection was lost", text: "The text so far is kept. Continue from there, or try again." };
    case "missing": case "refused": return { title: "The server rejected the request", text: error.message, settings: true };
    default: return { title: "The server failed", text: error.message };
  }
}
