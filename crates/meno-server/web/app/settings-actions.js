// The actions on settings, theme and sidebar.

import { phone } from "./dom.js";
import { loadModels } from "./models.js";
import { drawNow, invalidate } from "./redraw.js";
import { closeSettings, fillNumberFields, openSettings } from "./settings-form.js";
import { DEFAULTS, saveSettings } from "./settings.js";
import { state } from "./state.js";

let keyTimer;

function setSetting(name, value) {
  state.settings = { ...state.settings, [name]: value };
  saveSettings(state.settings);
  if (name === "key") {
    clearTimeout(keyTimer);
    keyTimer = setTimeout(loadModels, 600);
  }
  invalidate();
}

function setTheme(theme) {
  state.theme = theme;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    if (theme) localStorage.setItem("meno-theme", theme);
    else localStorage.removeItem("meno-theme");
  } catch {
    // This browser stores nothing: the choice lasts as long as the page.
  }
  invalidate();
}

export const settingsActions = {
  openSettings,
  closeSettings,
  setSetting,
  resetSettings() {
    const { key, model, sidebar } = state.settings;
    state.settings = { ...DEFAULTS, key, model, sidebar };
    saveSettings(state.settings);
    drawNow();
    fillNumberFields();
  },
  setTheme,
  toggleTheme: () => setTheme(state.dark ? "light" : "dark"),
  showSidebar(shown) {
    if (phone.matches) state.drawerOpen = shown;
    else setSetting("sidebar", shown);
    invalidate();
  },
};
