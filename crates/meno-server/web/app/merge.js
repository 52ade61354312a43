// Merges two states of the same chat: two tabs may write into it, and a tab may close in the middle of an answer.
//
// Messages are merged by id; none is ever dropped. If both states have a message, the higher `revision` wins; if its
// text does not continue the other one, both stay, as versions.

const textOf = (message) => `${message.reasoning ?? ""}\u0000${message.content}`;

// Returns true if `long` continues `short`, which ended inside its thought or its answer.
function continues(long, short) {
  if (short.content) return long.content.startsWith(short.content) && (long.reasoning ?? "") === (short.reasoning ?? "");
  return (long.reasoning ?? "").startsWith(short.reasoning ?? "");
}

// Returns true if `one` wins over `other`. The order is total, so every tab chooses the same.
function wins(one, other) {
  if ((one.revision ?? 0) !== (other.revision ?? 0)) return (one.revision ?? 0) > (other.revision ?? 0);
  return textOf(one).length === textOf(other).length ? textOf(one) > textOf(other) : textOf(one).length > textOf(other).length;
}

// The id of a message's second text, the same in every tab.
function secondId(message) {
  let hash = 5381;
  for (const c of textOf(message)) hash = (Math.imul(hash, 33) ^ c.codePointAt(0)) >>> 0;
  return `${message.id.slice(0, 48)}x${hash.toString(16)}`;
}

/**
 * Merges `other` into `chat` in place: message objects keep their identity because an answer may be streaming into one.
 * Returns true if `chat` changed.
 */
export function mergeChat(chat, other) {
  let changed = false;
  for (const theirs of Object.values(other.messages)) changed = mergeMessage(chat, theirs) || changed;
  if ((other.titled ?? 0) > (chat.titled ?? 0) || (!chat.title && other.title)) {
    Object.assign(chat, { title: other.title, titled: other.titled });
    changed = true;
  }
  chat.created = Math.min(chat.created, other.created);
  chat.updated = Math.max(chat.updated, other.updated);
  if (chat.leaf === null || (other.leaf !== chat.leaf && isBelow(chat, chat.leaf, other.leaf))) {
    chat.leaf = other.leaf;
    changed = true;
  }
  return changed;
}

function mergeMessage(chat, theirs) {
  const mine = chat.messages[theirs.id];
  if (!mine) {
    chat.messages[theirs.id] = structuredClone(theirs);
    return true;
  }
  const [older, newer] = wins(theirs, mine) ? [mine, theirs] : [theirs, mine];
  let changed = false;
  if (!continues(newer, older)) {
    const id = secondId(older);
    changed = !chat.messages[id];
    if (changed) chat.messages[id] = { ...structuredClone(older), id };
  }
  if (newer === mine) return changed;
  Object.assign(mine, structuredClone(theirs));
  return true;
}

// Returns true if `leaf` is below `from` in the tree.
function isBelow(chat, from, leaf) {
  for (let id = leaf; id !== null && id !== undefined; id = chat.messages[id]?.parent) if (id === from) return true;
  return false;
}

/** Shows the branch that ends in `leaf`, unless the chat already shows a branch that continues below it. */
export function showBranch(chat, leaf) {
  if (typeof leaf === "string" && Object.hasOwn(chat.messages, leaf) && !isBelow(chat, leaf, chat.leaf)) chat.leaf = leaf;
}

/** A copy of a chat that contains only the branch from the root to `message`, small enough to save synchronously. */
export function branchSnapshot(chat, message) {
  const messages = {};
  for (let at = message; at; at = at.parent === null ? null : chat.messages[at.parent]) messages[at.id] = at;
  return { ...chat, leaf: message.id, messages };
}
