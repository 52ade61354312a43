// Starts the page.

import { detectMathFont } from "../math/font-fallback.js";
import { loadChats, showAddressedChat } from "./conversations.js";
import { listen } from "./events.js";
import { loadModels } from "./models.js";
import { drawPage } from "./page.js";
import { restoreBranches, restoreDraft, restoreUnfinished } from "./recovery.js";
import { drawNow, invalidate, setDraw } from "./redraw.js";

async function start() {
  setDraw(drawPage);
  listen();
  detectMathFont();
  drawNow();
  await loadChats();
  await restoreUnfinished();
  restoreBranches();
  if (location.hash) showAddressedChat();
  restoreDraft();
  invalidate();
  await loadModels();
  document.documentElement.dataset.ready = "true"; // for the tests
}

start();
