// The elements of index.html, and the media queries that the scripts need.

export const byId = (id) => document.getElementById(id);

/** Matches narrow windows; the same width as in style.css. */
export const phone = matchMedia("(max-width: 760px)");
export const darkSystem = matchMedia("(prefers-color-scheme: dark)");

/** Makes a text field as tall as its text, up to 40 % of the window. */
export function growToFit(field) {
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, innerHeight * 0.4)}px`;
}

/** Writes into the question field. */
export function setQuestion(text) {
  byId("question").value = text;
  growToFit(byId("question"));
}
