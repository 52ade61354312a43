// Asks the model: sends questions, and requests or continues answers.

import { startAnswer } from "./answer-stream.js";
import { addMessage, branch } from "./chat.js";
import { addChat, saveChat, tabs } from "./conversations.js";
import { loadModels, selectedModel } from "./models.js";
import { announce, toast } from "./notifications.js";
import { saveUnfinishedWork } from "./recovery.js";
import { invalidate } from "./redraw.js";
import { state } from "./state.js";

/** Requests an answer to the message `parent`, or the continuation of the answer `into`. */
export async function ask(chat, parent, into = null) {
  state.followEnd = true;
  const run = startAnswer(chat, parent, { settings: state.settings, model: selectedModel(state), changed: invalidate, save: () => saveChat(chat), into });
  state.runs.set(chat.id, run);
  announce("Meno is reading.");
  saveChat(chat);
  invalidate();
  const message = await run.done;
  if (run.abandoned) return;
  state.runs.delete(chat.id);
  saveChat(chat, run).then(saveUnfinishedWork);
  announce(message.error ? message.error.title : message.finish === "stopped" ? "The answer was stopped." : "The answer is complete.");
  if (run.refused) toast(`The answer cannot be continued: ${run.refused.message} Try again for a new one.`);
  if (message.error?.kind === "unreachable" || message.error?.kind === "missing") loadModels();
  invalidate();
}

/** Returns true if the next message must wait for an answer in this tab or, on the same branch, in another. */
export function isBusy(chat) {
  if (state.runs.has(chat.id)) return true;
  if (!branch(chat).some((message) => tabs.isWriting(message))) return false;
  toast("Another tab is writing an answer here. Wait for it, or stop it there.");
  return true;
}

/** Sends a question with the attachments; returns false if it cannot be sent now. */
export function send(text) {
  const content = text.trim();
  const files = state.attachments;
  if ((!content && files.length === 0) || isBusy(state.chat)) return false;
  const { chat } = state;
  const question = addMessage(chat, chat.leaf, "user", files.length > 0 ? { content, files } : { content });
  state.attachments = [];
  addChat(chat);
  history.replaceState(null, "", `#${chat.id}`);
  ask(chat, question.id);
  return true;
}
