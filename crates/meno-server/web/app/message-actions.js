// The actions on questions and answers.

import { ask, isBusy } from "./answers.js";
import { addMessage, switchVersion } from "./chat.js";
import { copyText } from "./clipboard.js";
import { saveChat } from "./conversations.js";
import { byId, growToFit, setQuestion } from "./dom.js";
import { announce } from "./notifications.js";
import { drawNow, invalidate } from "./redraw.js";
import { state } from "./state.js";

export const messageActions = {
  useSuggestion(text) {
    setQuestion(text);
    byId("question").focus();
    invalidate();
  },
  stopAnswer: () => state.runs.get(state.chat.id)?.stop(),
  retry(message) {
    const { chat } = state;
    if (state.runs.has(chat.id)) return;
    // An empty answer is not worth a version: the new attempt replaces it.
    ask(chat, message.parent, message.content || message.reasoning ? null : message);
  },
  continueAnswer(message) {
    if (!isBusy(state.chat)) ask(state.chat, message.parent, message);
  },
  /** Opens the editor of a question; null closes it. */
  edit(id) {
    state.editing = id;
    drawNow();
    const field = document.querySelector(".editor textarea");
    if (!field) return byId("question").focus();
    growToFit(field);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  },
  /** Sends an edited question as a new version. */
  resend(message, text) {
    const { chat } = state;
    const { files } = message;
    if ((!text.trim() && !files) || state.runs.has(chat.id)) return;
    state.editing = null;
    ask(chat, addMessage(chat, message.parent, "user", files ? { content: text.trim(), files } : { content: text.trim() }).id);
    byId("question").focus();
  },
  switchVersion(message, step) {
    if (state.runs.has(state.chat.id)) return;
    switchVersion(state.chat, message, step);
    state.followEnd = false;
    saveChat(state.chat);
    invalidate();
  },
  async copy(text, id) {
    await copyText(text);
    announce("Copied.");
    state.copied = id;
    invalidate();
    setTimeout(() => {
      if (state.copied === id) state.copied = null;
      invalidate();
    }, 1600);
  },
  setThoughtUnfolded(id, unfolded, thinking) {
    if (unfolded || thinking) state.thoughts.set(id, unfolded);
    else state.thoughts.delete(id);
    if (unfolded && !thinking) state.followEnd = false;
    invalidate();
  },
};
