// The icons and the logo, as SVG nodes.

import { h } from "../vnode.js";

const drawn = (paths, attrs) =>
  h("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", fill: "none", stroke: "currentColor", "stroke-width": "1.7", "stroke-linecap": "round", "stroke-linejoin": "round", ...attrs },
    paths.map((d) => h("path", { d })));

export const icons = {
  add: drawn(["M12 5v14M5 12h14"]),
  send: drawn(["M12 19V5M6 11l6-6 6 6"], { "stroke-width": "2.1" }),
  stop: drawn(["M7.5 7.5h9v9h-9z"], { fill: "currentColor" }),
  copy: drawn(["M9 9h10v11H9z", "M5 15V4h10"]),
  done: drawn(["M5 12.5l4.5 4.5L19 7.5"]),
  retry: drawn(["M4 12a8 8 0 0 1 13.9-5.4L20 9M20 4v5h-5M20 12a8 8 0 0 1-13.9 5.4L4 15M4 20v-5h5"]),
  edit: drawn(["M4 20l1-4L16 5l3 3L8 19z", "M13.5 7.5l3 3"]),
  remove: drawn(["M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5"]),
  settings: drawn(["M4 7h9M19 7h1M4 17h1M11 17h9", "M13 7a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "M5 17a3 3 0 1 0 6 0a3 3 0 1 0-6 0"]),
  sidebar: drawn(["M4 5h16v14H4z", "M10 5v14"]),
  light: drawn(["M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8", "M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4"]),
  dark: drawn(["M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z"]),
  attach: drawn(["M19.5 11.5l-7.8 7.8a4.6 4.6 0 0 1-6.5-6.5l8.2-8.2a3.1 3.1 0 0 1 4.4 4.4l-8.1 8.1a1.5 1.5 0 0 1-2.2-2.2l7.2-7.2"]),
  file: drawn(["M7 3.5h7l4 4V20.5H7z", "M14 3.5v4h4"]),
  save: drawn(["M12 4v11M7 10.5l5 5 5-5", "M5 20h14"]),
  go: drawn(["M8 5.5l10 6.5-10 6.5z"]),
  down: drawn(["M12 5v14M6 13l6 6 6-6"]),
  unfold: drawn(["M8 10l4 4 4-4"]),
  back: drawn(["M14 7l-5 5 5 5"]),
  forth: drawn(["M10 7l5 5-5 5"]),
  close: drawn(["M6 6l12 12M18 6L6 18"]),
  search: drawn(["M11 5a6 6 0 1 0 0 12a6 6 0 1 0 0-12", "M15.5 15.5L20 20"]),
  warning: drawn(["M12 4L2.8 20h18.4z", "M12 10v4.5M12 17.2v.1"]),
};

/**
 * The logo: the square that Socrates asks the slave to double and, on its diagonal, the square that answers him
 * (Plato, Meno 82b-85b).
 */
export function logo(className) {
  return h("svg", { class: `sign ${className ?? ""}`, viewBox: "0 0 32 32", "aria-hidden": "true", fill: "none", "stroke-linejoin": "round" },
    h("path", { class: "sign-squares", d: "M4 4h24v24H4zM16 4v24M4 16h24" }),
    h("path", { class: "sign-answer", d: "M16 4L28 16L16 28L4 16z", pathLength: "100" }));
}
