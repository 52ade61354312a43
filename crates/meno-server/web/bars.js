// The bar above the conversation and the row below the question.

import { h } from "./vnode.js";
import { icons, sign } from "./icons.js";

/** The bar above the conversation. */
export function head(state, actions) {
  const { models } = state;
  const hidden = !state.sidebarShown;
  const name = models.length > 1
    ? h("select", { "aria-label": "Model", value: chosenModel(state), onchange: (e) => actions.set("model", e.currentTarget.value) }, models.map((id) => h("option", { value: id, selected: id === chosenModel(state) }, id)))
    : h("span", { class: "model", title: models[0] }, models[0] ?? "");
  return [
    hidden && h("button", { type: "button", class: "small", "data-do": "show-sidebar", title: "Show the list", "aria-label": "Show the list of chats", onclick: () => actions.showSidebar(true) }, icons.sidebar),
    hidden && h("span", { class: "brand-small" }, sign(), "Meno"),
    name,
    hidden && h("button", { type: "button", class: "small new-small", title: "New chat", "aria-label": "New chat", onclick: actions.newChat }, icons.edit),
  ];
}

/** What can be done with the question, which is `empty` or not. */
export function tools(state, empty, actions) {
  const { settings } = state;
  const run = state.runs.get(state.chat.id);
  return [
    h("button", { type: "button", class: "pill", "data-do": "think", "aria-pressed": String(settings.thinking), title: settings.thinking ? "The model thinks before it answers" : "The model answers at once", onclick: () => actions.set("thinking", !settings.thinking) }, sign(), "Think"),
    h("button", { type: "button", class: "small", "data-do": "sampling", title: "Settings", "aria-label": "Settings", onclick: actions.settings }, icons.settings),
    h("span", { class: "gap" }),
    run
      ? h("button", { type: "button", key: "stop", class: "send stop", "data-do": "stop", title: "Stop (Esc)", "aria-label": "Stop the answer", onclick: actions.stop }, icons.stop)
      : h("button", { type: "submit", key: "send", class: "send", "data-do": "send", title: "Send (Enter)", "aria-label": "Send", disabled: empty }, icons.send),
  ];
}

/** The model that is asked. */
export function chosenModel(state) {
  return state.models.includes(state.settings.model) ? state.settings.model : (state.models[0] ?? "");
}
