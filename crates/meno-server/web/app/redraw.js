// Schedules drawing. Actions import this module instead of the components that call them.

let draw = () => {};
let scheduled = false;

/** Sets the function that draws the page. */
export function setDraw(drawPage) {
  draw = drawPage;
}

/** Draws the page before the next frame. */
export function invalidate() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

/** Draws the page at once, for actions that need its new elements. */
export function drawNow() {
  draw();
}
