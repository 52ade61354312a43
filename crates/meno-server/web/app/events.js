// Listens to keys, pointers, dropped files and the life cycle of the page.

import { actions } from "./actions.js";
import { send } from "./answers.js";
import { branch } from "./chat.js";
import { copyText } from "./clipboard.js";
import { drafts, showAddressedChat } from "./conversations.js";
import { byId, darkSystem, growToFit, phone } from "./dom.js";
import { announce } from "./notifications.js";
import { saveUnfinishedWork } from "./recovery.js";
import { invalidate } from "./redraw.js";
import { setFollowEnd } from "./scroll.js";
import { state } from "./state.js";

const END_PX = 48; // this close to the end, the conversation follows the answer

function submitQuestion(event) {
  event.preventDefault();
  const field = byId("question");
  if (!send(field.value)) return;
  field.value = "";
  drafts.delete(state.chat.id);
  saveUnfinishedWork();
  growToFit(field);
  if (phone.matches) field.blur(); // the on-screen keyboard would cover the answer
  invalidate();
}

function onQuestionKey(event) {
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("composer").requestSubmit();
  } else if (event.key === "ArrowUp" && byId("question").value === "" && !state.runs.has(state.chat.id)) {
    const last = branch(state.chat).reverse().find((m) => m.role === "user");
    if (!last) return;
    event.preventDefault();
    actions.edit(last.id);
  }
}

function onPageKey(event) {
  const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    actions.closeSettings();
    actions.newChat();
  } else if (byId("settings").open) {
    return;
  } else if (event.key === "Escape") {
    if (state.renaming) state.renaming = null;
    else if (state.editing) return actions.edit(null);
    else if (state.drawerOpen) state.drawerOpen = false;
    else actions.stopAnswer();
    invalidate();
  } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    byId("question").focus();
  }
}

// Copy buttons and footnotes in Markdown have no separate handlers.
async function onTextClick(event) {
  const jump = event.target.closest("[data-jump]");
  if (jump) {
    event.preventDefault();
    const target = document.getElementById(jump.dataset.jump);
    target?.scrollIntoView({ block: "center" });
    target?.focus({ preventScroll: true });
    return;
  }
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copyText(button.closest("figure").querySelector("pre").textContent);
  announce("Copied.");
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1600);
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

function listenForFiles() {
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.dataset.dropping = "true";
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) delete document.body.dataset.dropping;
  });
  document.addEventListener("drop", (event) => {
    delete document.body.dataset.dropping;
    if (!hasFiles(event)) return;
    event.preventDefault();
    actions.attach([...event.dataTransfer.files]);
  });
  byId("question").addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    actions.attach(files);
  });
}

/** Registers all listeners of the page. */
export function listen() {
  darkSystem.addEventListener("change", invalidate);
  phone.addEventListener("change", invalidate);
  byId("composer").addEventListener("submit", submitQuestion);
  byId("question").addEventListener("keydown", onQuestionKey);
  byId("question").addEventListener("input", () => (growToFit(byId("question")), invalidate()));
  byId("messages").addEventListener("click", onTextClick);
  byId("shade").addEventListener("click", () => actions.showSidebar(false));
  byId("settings").addEventListener("click", (event) => event.target === byId("settings") && actions.closeSettings());
  byId("settings").addEventListener("close", () => byId("question").focus());
  byId("scroller").addEventListener("scroll", () => {
    const scroller = byId("scroller");
    setFollowEnd(scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < END_PX);
  }, { passive: true });
  document.addEventListener("keydown", onPageKey);
  addEventListener("popstate", showAddressedChat);
  addEventListener("pagehide", () => {
    state.runs.forEach((run) => run.abandon());
    saveUnfinishedWork();
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  document.addEventListener("visibilitychange", () => document.hidden && saveUnfinishedWork());
  listenForFiles();
}
