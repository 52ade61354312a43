// Draws the page: every region of index.html from the state.

import { h, patch } from "../vnode.js";
import { actions } from "./actions.js";
import { attachments, composerButtons } from "./composer.js";
import { byId, darkSystem, phone } from "./dom.js";
import { header } from "./header.js";
import { icons } from "./icons.js";
import { messageList } from "./message-list.js";
import { scrollToEnd } from "./scroll.js";
import { settingsDialog } from "./settings-dialog.js";
import { sidebar } from "./sidebar.js";
import { state } from "./state.js";

export function drawPage() {
  const isNew = state.chat.leaf === null;
  state.dark = state.theme ? state.theme === "dark" : darkSystem.matches;
  state.sidebarShown = phone.matches ? state.drawerOpen : state.settings.sidebar;
  document.body.dataset.sidebar = state.sidebarShown ? "shown" : "hidden";
  document.body.dataset.empty = String(isNew);
  document.title = state.chat.title ? `${state.chat.title} · Meno` : "Meno";
  patch(byId("sidebar"), sidebar(state, actions));
  patch(byId("head"), header(state, actions));
  patch(byId("messages"), messageList(state, actions));
  patch(byId("attached"), attachments(state.attachments, actions));
  patch(byId("tools"), composerButtons(state, byId("question").value.trim() === "" && state.attachments.length === 0, actions));
  patch(byId("jump"), state.followEnd ? [] : jumpButton());
  patch(byId("footnote"), isNew && state.keepsNothing ? "This browser keeps no data: chats last as long as this page." : "Models make mistakes. Check what matters.");
  patch(byId("toasts"), state.toasts.map(toastBox));
  if (byId("settings").open) patch(byId("settings"), settingsDialog(state, actions));
  for (const live of document.querySelectorAll(".thought-text.live")) live.scrollTop = live.scrollHeight;
  if (state.followEnd) byId("scroller").scrollTop = byId("scroller").scrollHeight;
}

function jumpButton() {
  return h("button", { type: "button", class: "jump", title: "To the end", "aria-label": "To the end of the conversation", onclick: scrollToEnd }, icons.down);
}

function toastBox({ id, text, action }) {
  return h("div", { class: "toast", key: id }, h("span", null, text), action && h("button", { type: "button", class: "link", onclick: action.run }, action.name));
}
