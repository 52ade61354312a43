// Runs before the first paint, so that the page does not flash in the wrong theme.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("meno-theme");
  } catch {
    // This browser stores nothing: follow the system.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
