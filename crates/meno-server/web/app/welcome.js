// The screen of a new chat, with suggestions for a first question.

import { h } from "../vnode.js";
import { logo } from "./icons.js";
import { selectedModel } from "./models.js";
import { suggestions } from "./suggestions.js";

export function welcome(state, actions) {
  const model = selectedModel(state);
  return h("section", { class: "welcome", key: "welcome" },
    logo("large"),
    h("h1", null, "What are you looking for?"),
    h("p", { class: "motto" }, "“How will you look for a thing, Socrates, when you do not know at all what it is?”", h("cite", null, "Meno, 80d")),
    model?.description && h("p", { class: "taught" }, model.description),
    h("div", { class: `beginnings${model?.examples.length > 0 ? " own" : ""}` }, suggestions(model).map(([name, words]) =>
      h("button", { type: "button", onclick: () => actions.useSuggestion(words) }, name && h("strong", null, name), h("span", { dir: "auto" }, words.replace(/```\w*\n?/g, ""))))));
}
