// Two states of the same chat become one: two tabs may write into it, and a tab may end in the middle of an answer.
//
// Messages are joined by their ids, and none is ever dropped. Of a message that both have, the one that was written
// last holds (`revision`); if the other does not continue its text, both stay, as versions beside each other.

const textOf = (message) => `${message.reasoning ?? ""}\u0000${message.content}`;

// Whether `long` continues `short`, which was cut in its thought or in its answer.
function continues(long, short) {
  if (short.content) return long.content.startsWith(short.content) && (long.reasoning ?? "") === (short.reasoning ?? "");
  return (long.reasoning ?? "").startsWith(short.reasoning ?? "");
}

// Which of two states holds: every tab must choose the same.
function holdsOver(one, other) {
  if ((one.revision ?? 0) !== (other.revision ?? 0)) return (one.revision ?? 0) > (other.revision ?? 0);
  return textOf(one).length === textOf(other).length ? textOf(one) > textOf(other) : textOf(one).length > textOf(other).length;
}

// A name for the second text of a message, the same in every tab.
function secondId(message) {
  let hash = 5381;
  for (const c of textOf(message)) hash = (Math.imul(hash, 33) ^ c.codePointAt(0)) >>> 0;
  return `${message.id.slice(0, 48)}x${hash.toString(16)}`;
}

/**
 * Takes everything of `other` into `chat`, in place: objects that are being written stay the same objects. Gives true
 * if that changed anything.
 */
export function absorb(chat, other) {
  let changed = false;
  for (const theirs of Object.values(other.messages)) changed = absorbMessage(chat, theirs) || changed;
  if ((other.titled ?? 0) > (chat.titled ?? 0) || (!chat.title && other.title)) {
    Object.assign(chat, { title: other.title, titled: other.titled });
    changed = true;
  }
  chat.created = Math.min(chat.created, other.created);
  chat.updated = Math.max(chat.updated, other.updated);
  if (chat.leaf === null || (other.leaf !== chat.leaf && leadsTo(chat, chat.leaf, other.leaf))) {
    chat.leaf = other.leaf;
    changed = true;
  }
  return changed;
}

function absorbMessage(chat, theirs) {
  const mine = chat.messages[theirs.id];
  if (!mine) {
    chat.messages[theirs.id] = structuredClone(theirs);
    return true;
  }
  const [older, newer] = holdsOver(theirs, mine) ? [mine, theirs] : [theirs, mine];
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

// Whether `leaf` stands below `from` in the tree: what another tab said next is then shown here, too.
function leadsTo(chat, from, leaf) {
  for (let id = leaf; id !== null && id !== undefined; id = chat.messages[id]?.parent) if (id === from) return true;
  return false;
}

/** Shows the branch of `leaf`, where the chat has it, or what has been said below it since. */
export function showLeaf(chat, leaf) {
  if (typeof leaf === "string" && Object.hasOwn(chat.messages, leaf) && !leadsTo(chat, leaf, chat.leaf)) chat.leaf = leaf;
}

/** What must be kept of a chat when its page goes in the middle of an answer: the way from its root to that answer. */
export function fragment(chat, message) {
  const messages = {};
  for (let at = message; at; at = at.parent === null ? null : chat.messages[at.parent]) messages[at.id] = at;
  return { ...chat, leaf: message.id, messages };
}
