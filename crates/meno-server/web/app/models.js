// The models that the server offers, and the selected one.

import { explain, listModels } from "./api.js";
import { toast } from "./notifications.js";
import { invalidate } from "./redraw.js";
import { openSettings } from "./settings-form.js";
import { state } from "./state.js";

/** The model that answers, or null while none is known. */
export function selectedModel({ models, settings }) {
  return models.find(({ id }) => id === settings.model) ?? models[0] ?? null;
}

/** Fetches the list of models; reports an error in a toast. */
export async function loadModels() {
  try {
    state.models = await listModels(state.settings.key);
  } catch (error) {
    state.models = [];
    if (error.kind === "key") toast("This server asks for an API key.", { name: "Enter it", run: openSettings });
    else if (error.name !== "AbortError") toast(`${explain(error).title}. ${explain(error).text}`);
  }
  invalidate();
}
