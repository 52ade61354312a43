// The settings: their defaults, and how localStorage keeps them.

const KEY = "meno-settings";

/** null leaves the choice to the model and the server. */
export const DEFAULTS = {
  system: "", thinking: true, thinking_budget: null, temperature: null, top_p: null, top_k: null, min_p: null, max_tokens: null, seed: null, key: "", model: "", sidebar: true,
};

/** Parses stored settings. A missing, unknown or invalid entry gets its default. */
export function readSettings(text) {
  const settings = { ...DEFAULTS };
  let saved = null;
  try {
    saved = JSON.parse(text ?? "null");
  } catch {
    return settings;
  }
  for (const [name, value] of Object.entries(saved ?? {})) {
    if (!Object.hasOwn(DEFAULTS, name)) continue;
    const fits = DEFAULTS[name] === null ? value === null || Number.isFinite(value) : typeof value === typeof DEFAULTS[name];
    if (fits) settings[name] = value;
  }
  return settings;
}

export function loadSettings() {
  try {
    return readSettings(localStorage.getItem(KEY));
  } catch {
    return { ...DEFAULTS };
  }
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // This browser stores nothing: the settings last as long as the page.
  }
}
