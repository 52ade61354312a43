// An answer: its thought, its text, why it ended, and its buttons.

import { h } from "../vnode.js";
import { canContinue } from "./chat.js";
import { formatCount, formatDuration } from "./format.js";
import { icons, logo } from "./icons.js";
import { iconButton, versionSwitch } from "./message-buttons.js";
import { selectedModel } from "./models.js";
import { answerStats } from "./stats.js";
import { renderText } from "./text-cache.js";

export function answer(state, message, run, { last, elsewhere }, actions) {
  const waiting = run && !message.reasoning && !message.content;
  return h("article", { class: `said answer${last ? " last" : ""}`, key: message.id, "aria-label": "Meno", "aria-busy": String(Boolean(run)) },
    waiting && h("p", { class: "waiting" }, logo("drawing"), h("span", null, run.elapsed > 1500 ? `Reading · ${formatDuration(run.elapsed)}` : "Reading")),
    message.reasoning && thought(state, message, run, actions),
    message.content && h("div", { class: "text", dir: "auto" }, renderText(message.id, "answer", message.content, Boolean(run), {})),
    run?.before && !run.receivedText && h("p", { class: "waiting" }, logo("drawing"), h("span", null, "Continuing")),
    elsewhere && h("p", { class: "note" }, "Another tab is writing this answer."),
    !run && !elsewhere && notes(message, actions, { last, continues: canContinue(message, selectedModel(state)) }),
    !run && !elsewhere && h("div", { class: "doings" }, versionSwitch(state, message, actions),
      message.content && iconButton("copy", state.copied === message.id ? "done" : "copy", "Copy", () => actions.copy(message.content, message.id)),
      iconButton("retry", "retry", "Try again", () => actions.retry(message)),
      answerStats(message)));
}

function thought(state, message, run, actions) {
  const thinking = Boolean(run) && !message.content;
  const chosen = state.thoughts.get(message.id);
  const unfolded = chosen ?? thinking;
  const id = `thought-${message.id}`;
  return h("section", { class: `thought${thinking ? " thinking" : ""}` },
    h("button", { type: "button", class: "thought-head", "aria-expanded": String(unfolded), "aria-controls": id, onclick: () => actions.setThoughtUnfolded(message.id, !(chosen ?? false), thinking) },
      logo(thinking ? "drawing" : ""), h("span", null, thoughtLabel(message, run, thinking)), icons.unfold),
    unfolded && h("div", { id, class: `thought-text text${thinking && chosen === undefined ? " live" : ""}` },
      renderText(message.id, "thought", message.reasoning, thinking, { breaks: true })));
}

function thoughtLabel(message, run, thinking) {
  const { thoughtMs, reasoningTokens } = message.stats;
  const tokens = reasoningTokens ? ` · ${formatCount(reasoningTokens, "token")}` : "";
  if (thinking) return `Thinking for ${formatDuration(run.elapsed - (message.stats.firstMs ?? 0))}${tokens}`;
  const cut = { budget: " · its budget was spent", loop: " · ended when it went in circles" }[message.cut] ?? "";
  return `${thoughtMs >= 0 ? `Thought for ${formatDuration(thoughtMs)}` : "Thought"}${tokens}${cut}`;
}

function notes(message, actions, { last, continues }) {
  const out = [];
  const go = last && continues && h("button", { type: "button", class: "go-on", "data-do": "continue", onclick: () => actions.continueAnswer(message) }, icons.go, "Continue");
  const note = (...words) => out.push(h("p", { class: "note" }, h("span", null, words), go));
  if (message.error) out.push(problem(message, actions, { last, continues }));
  else if (message.finish === "length") note("The answer reached its limit of tokens. ", h("button", { type: "button", class: "link", onclick: actions.openSettings }, "Raise it in the settings"), ".");
  else if (message.finish === "stopped") note(message.content || message.reasoning ? "You stopped this answer." : "You stopped before the first word.");
  else if (message.finish === null) note("This answer was interrupted.");
  else if (!message.content && !message.error) out.push(h("p", { class: "note" }, "The model ended without an answer."));
  return out;
}

function problem(message, actions, { last, continues }) {
  const { title, text: words, settings } = message.error;
  return h("div", { class: "problem", role: "alert" }, icons.warning,
    h("div", null, h("strong", null, title), h("p", null, words),
      last && h("div", { class: "problem-doings" },
        h("button", { type: "button", class: "primary", onclick: () => actions.retry(message) }, "Try again"),
        continues && h("button", { type: "button", class: "plain", "data-do": "continue", onclick: () => actions.continueAnswer(message) }, "Continue"),
        settings && h("button", { type: "button", class: "plain", onclick: actions.openSettings }, "Settings"))));
}
