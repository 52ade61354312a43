// What was said, as the page draws it: questions, thoughts, answers, and what can be done with each.

import { h } from "../vnode.js";
import { icons, sign } from "./icons.js";
import { MarkdownView } from "../markdown/markdown.js";
import { beginnings } from "./beginnings.js";
import { shownSize } from "./attachments.js";
import { chosenModel } from "./bars.js";
import { branch, canContinue, versions } from "./chat.js";

const views = new Map(); // message id and part -> its text as nodes, parsed once

function text(id, part, source, open, options) {
  const key = `${id}/${part}`;
  let view = views.get(key);
  if (!view) views.set(key, (view = { markdown: new MarkdownView(options) }));
  if (view.source !== source || view.open !== open) {
    Object.assign(view, { source, open, nodes: view.markdown.render(source, open) });
  }
  return view.nodes;
}

/** Lets go of the parsed texts of chats that are not shown. */
export function forgetTexts() {
  views.clear();
}

/** All messages of the branch that is shown. */
export function conversation(state, actions) {
  const run = state.runs.get(state.chat.id);
  const messages = branch(state.chat);
  if (messages.length === 0) return [welcome(state, actions)];
  return messages.map((message, i) => {
    const last = i === messages.length - 1;
    const elsewhere = state.writtenElsewhere(message);
    return message.role === "user" ? question(state, message, Boolean(run), actions) : answer(state, message, run?.message === message ? run : null, { last, elsewhere }, actions);
  });
}

function welcome(state, actions) {
  const model = chosenModel(state);
  return h("section", { class: "welcome", key: "welcome" },
    sign("large"),
    h("h1", null, "What are you looking for?"),
    h("p", { class: "motto" }, "“How will you look for a thing, Socrates, when you do not know at all what it is?”", h("cite", null, "Meno, 80d")),
    model?.description && h("p", { class: "taught" }, model.description),
    h("div", { class: `beginnings${model?.examples.length > 0 ? " own" : ""}` }, beginnings(model).map(([name, words]) =>
      h("button", { type: "button", onclick: () => actions.begin(words) }, name && h("strong", null, name), h("span", { dir: "auto" }, words.replace(/```\w*\n?/g, ""))))));
}

// ---- a question -------------------------------------------------------------------------------------------------

function question(state, message, busy, actions) {
  const editing = state.editing === message.id;
  return h("article", { class: "said question", key: message.id, "aria-label": "You" },
    editing ? editor(message, actions) : h("div", { class: "bubble" }, (message.files ?? []).map(file), message.content && h("div", { class: "bubble-words", dir: "auto" }, message.content)),
    !editing && h("div", { class: "doings" }, turner(state, message, actions),
      button("copy", state.copied === message.id ? "done" : "copy", "Copy", () => actions.copy(message.content, message.id)),
      !busy && button("edit", "edit", "Edit", () => actions.edit(message.id))));
}

function file({ name, text: words }) {
  return h("details", { class: "file-shown" }, h("summary", null, icons.file, h("span", { class: "chip-name", dir: "auto" }, name), h("span", { class: "chip-size" }, shownSize(words.length))),
    h("pre", { tabindex: "0", role: "region", "aria-label": name, dir: "auto" }, words));
}

function editor(message, actions) {
  const submit = (event) => {
    event.preventDefault();
    actions.resend(message, event.currentTarget.elements.words.value);
  };
  const keys = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      event.currentTarget.form.requestSubmit();
    }
  };
  const grow = (event) => actions.grow(event.currentTarget);
  return h("form", { class: "editor", onsubmit: submit },
    h("textarea", { name: "words", "aria-label": "Your question, to be changed", rows: "2", dir: "auto", onkeydown: keys, oninput: grow }, message.content),
    h("div", null,
      h("button", { type: "button", class: "plain", onclick: () => actions.edit(null) }, "Cancel"),
      h("button", { type: "submit", class: "primary" }, "Send")));
}

// ---- an answer --------------------------------------------------------------------------------------------------

function answer(state, message, run, { last, elsewhere }, actions) {
  const waiting = run && !message.reasoning && !message.content;
  return h("article", { class: `said answer${last ? " last" : ""}`, key: message.id, "aria-label": "Meno", "aria-busy": String(Boolean(run)) },
    waiting && h("p", { class: "waiting" }, sign("drawing"), h("span", null, run.elapsed > 1500 ? `Reading · ${seconds(run.elapsed)}` : "Reading")),
    message.reasoning && thought(state, message, run, actions),
    message.content && h("div", { class: "text", dir: "auto" }, text(message.id, "answer", message.content, Boolean(run), {})),
    run?.before && !run.heard && h("p", { class: "waiting" }, sign("drawing"), h("span", null, "Continuing")),
    elsewhere && h("p", { class: "note" }, "Another tab is writing this answer."),
    !run && !elsewhere && notes(message, actions, { last, continues: canContinue(message, chosenModel(state)) }),
    !run && !elsewhere && h("div", { class: "doings" }, turner(state, message, actions),
      message.content && button("copy", state.copied === message.id ? "done" : "copy", "Copy", () => actions.copy(message.content, message.id)),
      button("retry", "retry", "Try again", () => actions.retry(message)),
      figures(message)));
}

function thought(state, message, run, actions) {
  const thinking = Boolean(run) && !message.content;
  const chosen = state.thoughts.get(message.id);
  const unfolded = chosen ?? thinking;
  const id = `thought-${message.id}`;
  return h("section", { class: `thought${thinking ? " thinking" : ""}` },
    h("button", { type: "button", class: "thought-head", "aria-expanded": String(unfolded), "aria-controls": id, onclick: () => actions.fold(message.id, !(chosen ?? false), thinking) },
      sign(thinking ? "drawing" : ""), h("span", null, thoughtLabel(message, run, thinking)), icons.unfold),
    unfolded && h("div", { id, class: `thought-text text${thinking && chosen === undefined ? " live" : ""}` },
      text(message.id, "thought", message.reasoning, thinking, { breaks: true })));
}

function thoughtLabel(message, run, thinking) {
  const { thoughtMs, reasoningTokens } = message.stats;
  const tokens = reasoningTokens ? ` · ${count(reasoningTokens, "token")}` : "";
  if (thinking) return `Thinking for ${seconds(run.elapsed - (message.stats.firstMs ?? 0))}${tokens}`;
  const cut = { budget: " · its budget was spent", loop: " · ended when it went in circles" }[message.cut] ?? "";
  return `${thoughtMs >= 0 ? `Thought for ${seconds(thoughtMs)}` : "Thought"}${tokens}${cut}`;
}

function notes(message, actions, { last, continues }) {
  const out = [];
  const go = last && continues && h("button", { type: "button", class: "go-on", "data-do": "continue", onclick: () => actions.goOn(message) }, icons.go, "Continue");
  const note = (...words) => out.push(h("p", { class: "note" }, h("span", null, words), go));
  if (message.error) out.push(problem(message, actions, { last, continues }));
  else if (message.finish === "length") note("The answer reached its limit of tokens. ", h("button", { type: "button", class: "link", onclick: actions.settings }, "Raise it in the settings"), ".");
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
        continues && h("button", { type: "button", class: "plain", "data-do": "continue", onclick: () => actions.goOn(message) }, "Continue"),
        settings && h("button", { type: "button", class: "plain", onclick: actions.settings }, "Settings"))));
}

function figures({ stats, model }) {
  const parts = [];
  if (stats.completionTokens > 0) parts.push(count(stats.completionTokens, "token"));
  const speed = perSecond(stats);
  if (speed) parts.push(`${speed.toFixed(speed < 10 ? 1 : 0)} tokens/s`);
  if (stats.firstMs > 0) parts.push(`first token ${seconds(stats.firstMs)}`);
  if (parts.length === 0) return null;
  const cached = stats.cachedTokens ? `, ${stats.cachedTokens} of them from the cache` : "";
  const title = [model, stats.promptTokens ? `${count(stats.promptTokens, "token")} read${cached}` : null, stats.totalMs ? `${seconds(stats.totalMs)} in all` : null].filter(Boolean).join(" · ");
  return h("span", { class: "figures", title }, parts.join(" · "));
}

const LEAST_MS = 50; // over less, the network's packets are measured and not the model

/** Tokens per second after the first; null where all of them came at once. */
export function perSecond({ completionTokens, firstMs, totalMs, lastMs = totalMs }) {
  const ms = lastMs - firstMs;
  return completionTokens > 1 && ms >= LEAST_MS ? ((completionTokens - 1) / ms) * 1000 : null;
}

export function seconds(ms) {
  const s = Math.max(100, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
}

const count = (n, word) => `${n.toLocaleString("en").replace(/,/g, "\u202f")} ${word}${n === 1 ? "" : "s"}`;

function turner(state, message, actions) {
  const all = versions(state.chat, message);
  if (all.length < 2) return null;
  const at = all.indexOf(message);
  return h("span", { class: "turner" },
    h("button", { type: "button", class: "small", title: "Earlier version", "aria-label": "Earlier version", disabled: at === 0, onclick: () => actions.turn(message, -1) }, icons.back),
    h("span", null, `${at + 1}/${all.length}`),
    h("button", { type: "button", class: "small", title: "Later version", "aria-label": "Later version", disabled: at === all.length - 1, onclick: () => actions.turn(message, 1) }, icons.forth));
}

function button(name, icon, label, onclick) {
  return h("button", { type: "button", class: "small", "data-do": name, title: label, "aria-label": label, onclick }, icons[icon]);
}
