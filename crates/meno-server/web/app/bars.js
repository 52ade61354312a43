// The bar above the conversation and the row below the question.

import { h } from "../vnode.js";
import { icons, sign } from "./icons.js";
import { shownSize } from "./attachments.js";

/** The bar above the conversation. */
export function head(state, actions) {
  const { models } = state;
  const model = chosenModel(state);
  const hidden = !state.sidebarShown;
  const name = models.length > 1
    ? h("select", { "aria-label": "Model", value: model.id, onchange: (e) => actions.set("model", e.currentTarget.value) }, models.map(({ id }) => h("option", { value: id, selected: id === model.id }, id)))
    : h("span", { class: "model", title: model?.id ?? null }, model?.id ?? "");
  return [
    state.chat.leaf !== null && h("h1", { class: "unseen" }, state.chat.title || "Chat"),
    hidden && h("button", { type: "button", class: "small", "data-do": "show-sidebar", title: "Show the list", "aria-label": "Show the list of chats", onclick: () => actions.showSidebar(true) }, icons.sidebar),
    hidden && h("span", { class: "brand-small" }, sign(), "Meno"),
    name,
    h("span", { class: "gap" }),
    state.chat.leaf !== null && h("button", { type: "button", class: "small", "data-do": "markdown", title: "Save as Markdown", "aria-label": "Save this chat as Markdown", onclick: actions.exportMarkdown }, icons.save),
    hidden && h("button", { type: "button", class: "small", title: "New chat", "aria-label": "New chat", onclick: actions.newChat }, icons.edit),
  ];
}

/** What can be done with the question, which is `empty` or not. */
export function tools(state, empty, actions) {
  const { settings } = state;
  const run = state.runs.get(state.chat.id);
  const thinks = chosenModel(state)?.thinks;
  return [
    h("label", { class: "small attach", title: "Attach text files" }, icons.attach, h("input", { type: "file", class: "unseen", "data-do": "attach", multiple: true, "aria-label": "Attach text files", onchange: (e) => actions.attachChosen(e) })),
    thinks && h("button", { type: "button", class: "pill", key: "think", "data-do": "think", "aria-pressed": String(settings.thinking), title: settings.thinking ? "The model thinks before it answers" : "The model answers at once", onclick: () => actions.set("thinking", !settings.thinking) }, sign(), "Think"),
    h("button", { type: "button", class: "small", "data-do": "sampling", title: "Settings", "aria-label": "Settings", onclick: actions.settings }, icons.settings),
    h("span", { class: "gap" }),
    run
      ? h("button", { type: "button", key: "stop", class: "send stop", "data-do": "stop", title: "Stop (Esc)", "aria-label": "Stop the answer", onclick: actions.stop }, icons.stop)
      : h("button", { type: "submit", key: "send", class: "send", "data-do": "send", title: "Send (Enter)", "aria-label": "Send", disabled: empty }, icons.send),
  ];
}

/** The files that will go with the question. */
export function attached(files, actions) {
  return files.map((file, i) => h("span", { class: "chip" }, icons.file, h("span", { class: "chip-name", dir: "auto", title: file.name }, file.name), h("span", { class: "chip-size" }, shownSize(file.text.length)),
    h("button", { type: "button", "aria-label": `Remove ${file.name}`, title: "Remove", onclick: () => actions.detach(i) }, icons.close)));
}

/** The model that is asked, or null while none is known. */
export function chosenModel(state) {
  return state.models.find(({ id }) => id === state.settings.model) ?? state.models[0] ?? null;
}
