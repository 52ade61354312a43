// The conversation: the messages of the open branch.

import { answer } from "./answer.js";
import { branch } from "./chat.js";
import { question } from "./question.js";
import { welcome } from "./welcome.js";

/** The messages of the open branch, or the welcome screen. */
export function messageList(state, actions) {
  const run = state.runs.get(state.chat.id);
  const messages = branch(state.chat);
  if (messages.length === 0) return [welcome(state, actions)];
  return messages.map((message, i) => {
    const last = i === messages.length - 1;
    const elsewhere = state.isWrittenElsewhere(message);
    return message.role === "user" ? question(state, message, Boolean(run), actions) : answer(state, message, run?.message === message ? run : null, { last, elsewhere }, actions);
  });
}
