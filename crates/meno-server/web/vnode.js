// A small virtual DOM: trees of plain objects, and how they are applied to the document.
//
// The page renders everything through such a tree. Text, also that of a model, can never become markup because nothing
// here parses HTML. Only the differences to the current document are applied: a streaming answer updates its last
// block, and a selection elsewhere survives.

/** Creates a node. Attributes named on… are listeners; `key` identifies a node among its siblings. */
export function h(tag, attrs, ...children) {
  return { tag, attrs: attrs ?? {}, children: flatten(children, []) };
}

function flatten(children, out) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === true || child === "") continue;
    if (Array.isArray(child)) flatten(child, out);
    else out.push(typeof child === "number" ? String(child) : child);
  }
  return out;
}

/** The text content of a node. */
export function textOf(node) {
  if (typeof node === "string") return node;
  if (Array.isArray(node)) return node.map(textOf).join("");
  return node.children.map(textOf).join("");
}

const NAMESPACES = { svg: "http://www.w3.org/2000/svg", math: "http://www.w3.org/1998/Math/MathML" };
const HTML = "http://www.w3.org/1999/xhtml";
// Set as properties, because their attributes only set the initial value.
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "indeterminate"]);
const mounted = new WeakMap(); // DOM node -> the vnode it shows

/** Updates the children of `parent` to `nodes`, which may contain arrays and empty values as for `h`. */
export function patch(parent, ...nodes) {
  reconcile(parent, flatten(nodes, []));
}

function reconcile(parent, nodes) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    const key = mounted.get(child)?.attrs?.key;
    if (key !== undefined) keyed.set(key, child);
  }
  let cursor = parent.firstChild;
  for (const node of nodes) {
    const match = find(cursor, keyed, node);
    if (!match) {
      parent.insertBefore(create(node, childNamespace(parent)), cursor);
    } else {
      if (match === cursor) cursor = cursor.nextSibling;
      else parent.insertBefore(match, cursor);
      update(match, node);
    }
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

function find(cursor, keyed, node) {
  const key = node.attrs?.key;
  if (key !== undefined) {
    const match = keyed.get(key);
    return match && mounted.get(match).tag === node.tag ? match : null;
  }
  const shown = cursor && mounted.get(cursor);
  if (shown === undefined || shown === null || shown.attrs?.key !== undefined) return null;
  return (typeof shown === "string") === (typeof node === "string") && shown.tag === node.tag ? cursor : null;
}

function childNamespace(parent) {
  return parent.localName === "foreignObject" ? HTML : (parent.namespaceURI ?? HTML);
}

function create(node, space) {
  if (typeof node === "string") {
    const text = document.createTextNode(node);
    mounted.set(text, node);
    return text;
  }
  const element = document.createElementNS(NAMESPACES[node.tag] ?? space, node.tag);
  mounted.set(element, node);
  reconcile(element, node.children);
  for (const [name, value] of Object.entries(node.attrs)) setAttribute(element, name, value);
  return element;
}

function update(target, node) {
  const shown = mounted.get(target);
  if (shown === node) return;
  mounted.set(target, node);
  if (typeof node === "string") {
    target.data = node;
    return;
  }
  reconcile(target, node.children);
  for (const name of Object.keys(shown.attrs)) {
    if (!(name in node.attrs)) setAttribute(target, name, null);
  }
  for (const [name, value] of Object.entries(node.attrs)) {
    if (value !== shown.attrs[name] || PROPERTIES.has(name)) setAttribute(target, name, value);
  }
}

function setAttribute(element, name, value) {
  if (name === "key") return;
  if (name.startsWith("on")) {
    element[name] = value ?? null;
  } else if (PROPERTIES.has(name)) {
    const wanted = value ?? (name === "value" ? "" : false);
    if (element[name] !== wanted) element[name] = wanted;
  } else if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : value);
  }
}
