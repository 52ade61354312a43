// The bar above the conversation: the model, and the buttons that a hidden sidebar leaves.

import { h } from "../vnode.js";
import { icons, logo } from "./icons.js";
import { selectedModel } from "./models.js";

export function header(state, actions) {
  const { models } = state;
  const model = selectedModel(state);
  const hidden = !state.sidebarShown;
  const name = models.length > 1
    ? h("select", { "aria-label": "Model", value: model.id, onchange: (e) => actions.setSetting("model", e.currentTarget.value) }, models.map(({ id }) => h("option", { value: id, selected: id === model.id }, id)))
    : h("span", { class: "model", title: model?.id ?? null }, model?.id ?? "");
  return [
    state.chat.leaf !== null && h("h1", { class: "unseen" }, state.chat.title || "Chat"),
    hidden && h("button", { type: "button", class: "small", "data-do": "show-sidebar", title: "Show the list", "aria-label": "Show the list of chats", onclick: () => actions.showSidebar(true) }, icons.sidebar),
    hidden && h("span", { class: "brand-small" }, logo(), "Meno"),
    name,
    h("span", { class: "gap" }),
    state.chat.leaf !== null && h("button", { type: "button", class: "small", "data-do": "markdown", title: "Save as Markdown", "aria-label": "Save this chat as Markdown", onclick: actions.exportMarkdown }, icons.save),
    hidden && h("button", { type: "button", class: "small", title: "New chat", "aria-label": "New chat", onclick: actions.newChat }, icons.edit),
  ];
}
