// What the page hears: keys, pointers, files, and that it goes.

import { branch } from "./chat.js";
import { copyText } from "./files.js";

const $ = (id) => document.getElementById(id);
let page;

function submitQuestion(event) {
  event.preventDefault();
  if (!page.send($("question").value)) return;
  $("question").value = "";
  page.drafts.delete(page.state.chat.id);
  page.keepRuns();
  page.grow($("question"));
  if (page.phone.matches) $("question").blur(); // the keyboard would hide the answer
  page.invalidate();
}

function questionKeys(event) {
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("composer").requestSubmit();
  } else if (event.key === "ArrowUp" && $("question").value === "" && !page.state.runs.has(page.state.chat.id)) {
    const last = branch(page.state.chat).reverse().find((m) => m.role === "user");
    if (!last) return;
    event.preventDefault();
    page.actions.edit(last.id);
  }
}

function pageKeys(event) {
  const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    $("settings").close();
    page.actions.newChat();
  } else if ($("settings").open) {
    return;
  } else if (event.key === "Escape") {
    if (page.state.renaming) page.state.renaming = null;
    else if (page.state.editing) return page.actions.edit(null);
    else if (page.state.drawer) page.state.drawer = false;
    else page.actions.stop();
    page.invalidate();
  } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    $("question").focus();
  }
}

// Copy buttons and footnotes stand in parsed text, which knows no actions.
async function pressedInText(event) {
  const jump = event.target.closest("[data-jump]");
  if (jump) {
    event.preventDefault();
    const target = document.getElementById(jump.dataset.jump);
    target?.scrollIntoView({ block: "center" });
    target?.focus({ preventScroll: true });
    return;
  }
  const pressed = event.target.closest("[data-copy]");
  if (!pressed) return;
  await copyText(pressed.closest("figure").querySelector("pre").textContent);
  page.announce("Copied.");
  pressed.classList.add("copied");
  setTimeout(() => pressed.classList.remove("copied"), 1600);
}

const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");

function listenToFiles() {
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.body.dataset.dropping = "true";
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) delete document.body.dataset.dropping;
  });
  document.addEventListener("drop", (event) => {
    delete document.body.dataset.dropping;
    if (!holdsFiles(event)) return;
    event.preventDefault();
    page.actions.attach([...event.dataTransfer.files]);
  });
  $("question").addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    page.actions.attach(files);
  });
}

/** Has the page hear; `given` is what it can do (app.js). */
export function listen(given) {
  page = given;
  $("composer").addEventListener("submit", submitQuestion);
  $("question").addEventListener("keydown", questionKeys);
  $("question").addEventListener("input", () => (page.grow($("question")), page.invalidate()));
  $("messages").addEventListener("click", pressedInText);
  $("shade").addEventListener("click", () => page.actions.showSidebar(false));
  $("settings").addEventListener("click", (event) => event.target === $("settings") && page.actions.closeSettings());
  $("settings").addEventListener("close", () => $("question").focus());
  $("scroller").addEventListener("scroll", () => {
    const scroller = $("scroller");
    page.stick(scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48);
  }, { passive: true });
  document.addEventListener("keydown", pageKeys);
  addEventListener("popstate", page.openAddressed);
  addEventListener("pagehide", () => {
    page.state.runs.forEach((run) => run.leave());
    page.keepRuns();
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  document.addEventListener("visibilitychange", () => document.hidden && page.keepRuns());
  listenToFiles();
}
