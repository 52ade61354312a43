// All actions, as the components call them.

import { chatActions } from "./chat-actions.js";
import { fileActions } from "./file-actions.js";
import { messageActions } from "./message-actions.js";
import { settingsActions } from "./settings-actions.js";

export const actions = { ...chatActions, ...messageActions, ...settingsActions, ...fileActions };
