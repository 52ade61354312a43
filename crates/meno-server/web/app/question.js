// A question: its text and files, and the editor that replaces them.

import { h } from "../vnode.js";
import { growToFit } from "./dom.js";
import { formatSize } from "./format.js";
import { icons } from "./icons.js";
import { iconButton, versionSwitch } from "./message-buttons.js";

export function question(state, message, busy, actions) {
  const editing = state.editing === message.id;
  return h("article", { class: "said question", key: message.id, "aria-label": "You" },
    editing ? editor(message, actions) : h("div", { class: "bubble" }, (message.files ?? []).map(attachedFile), message.content && h("div", { class: "bubble-words", dir: "auto" }, message.content)),
    !editing && h("div", { class: "doings" }, versionSwitch(state, message, actions),
      iconButton("copy", state.copied === message.id ? "done" : "copy", "Copy", () => actions.copy(message.content, message.id)),
      !busy && iconButton("edit", "edit", "Edit", () => actions.edit(message.id))));
}

function attachedFile({ name, text }) {
  return h("details", { class: "file-shown" }, h("summary", null, icons.file, h("span", { class: "chip-name", dir: "auto" }, name), h("span", { class: "chip-size" }, formatSize(text.length))),
    h("pre", { tabindex: "0", role: "region", "aria-label": name, dir: "auto" }, text));
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
  const grow = (event) => growToFit(event.currentTarget);
  return h("form", { class: "editor", onsubmit: submit },
    h("textarea", { name: "words", "aria-label": "Your question, to be changed", rows: "2", dir: "auto", onkeydown: keys, oninput: grow }, message.content),
    h("div", null,
      h("button", { type: "button", class: "plain", onclick: () => actions.edit(null) }, "Cancel"),
      h("button", { type: "submit", class: "primary" }, "Send")));
}
