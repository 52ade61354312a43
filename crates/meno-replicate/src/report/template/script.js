// Values under the pointer or the arrow keys, and drawings to take away. The page reads the same without it.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const make = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // The table behind a chart is the CSV that its link holds: step, then value, fit, low and high of each line.
  function table(figure) {
    const link = figure.querySelector("a[download$='.csv']");
    const text = decodeURIComponent(link.getAttribute("href").split(",").slice(1).join(","));
    return text.trim().split("\n").slice(1).map((line) => line.split(",").map((x) => (x === "" ? null : Number(x))));
  }

  function readable(figure) {
    const plot = figure.querySelector(".plot");
    const svg = plot.querySelector("svg");
    const rows = table(figure);
    const data = plot.dataset;
    const [left, right, top, bottom, x0, x1, y1] = ["left", "right", "top", "bottom", "x0", "x1", "y1"].map((k) => Number(data[k]));
    const x = (step) => left + ((step - x0) / (x1 - x0)) * (right - left);
    const y = (value) => bottom - Math.min(Math.max(value / y1, 0), 1) * (bottom - top);
    const say = (value) => (data.axis === "share" ? `${(100 * value).toFixed(1)} %` : value.toPrecision(3));
    const lines = [...figure.querySelectorAll(".legend span")].map((span) => ({
      name: span.firstChild.nextSibling.textContent.trim(),
      colour: span.dataset.key,
    }));

    const cross = make("line", { class: "cross probe", y1: top, y2: bottom, visibility: "hidden" });
    const dots = lines.map((line) => make("circle", { class: `dot probe ${line.colour}`, r: 4, visibility: "hidden" }));
    svg.append(cross, ...dots);
    const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
    plot.append(tip);

    let now = rows.length - 1;
    const values = (row) =>
      lines.flatMap((line, i) => {
        const [value, fit, low, high] = row.slice(1 + 4 * i, 5 + 4 * i);
        if (value === null) return [];
        const range = low === null ? "" : ` (${say(low)} to ${say(high)})`;
        return [{ i, fit, text: `${lines.length > 1 ? `${line.name}: ` : ""}${say(fit)}${range}, measured ${say(value)}` }];
      });

    function show(index) {
      now = Math.min(Math.max(index, 0), rows.length - 1);
      const row = rows[now];
      const read = values(row);
      const at = x(row[0]);
      cross.setAttribute("x1", at);
      cross.setAttribute("x2", at);
      cross.setAttribute("visibility", "visible");
      dots.forEach((dot) => dot.setAttribute("visibility", "hidden"));
      for (const { i, fit } of read) {
        dots[i].setAttribute("cx", at);
        dots[i].setAttribute("cy", y(fit));
        dots[i].setAttribute("visibility", "visible");
      }
      tip.replaceChildren();
      for (const text of [`step ${row[0]}`, ...read.map((t) => t.text)]) {
        tip.append(Object.assign(document.createElement("div"), { textContent: text }));
      }
      tip.hidden = false;
      const scale = svg.clientWidth / svg.viewBox.baseVal.width;
      const room = plot.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.min(Math.max(at * scale - tip.offsetWidth / 2, Math.min(room, 0)), Math.max(room, 0))}px`;
      tip.style.top = `${-tip.offsetHeight - 4}px`;
      plot.setAttribute("aria-valuenow", row[0]);
      plot.setAttribute("aria-valuetext", [`step ${row[0]}`, ...read.map((t) => t.text)].join(". "));
    }
    function hide() {
      tip.hidden = true;
      [cross, ...dots].forEach((e) => e.setAttribute("visibility", "hidden"));
    }

    const title = figure.querySelector("figcaption b").textContent;
    const attributes = { tabindex: 0, role: "slider", "aria-label": `${title}: values by step`, "aria-valuemin": rows[0][0], "aria-valuemax": rows[now][0], "aria-valuenow": rows[now][0], "aria-valuetext": svg.getAttribute("aria-label") };
    for (const [key, value] of Object.entries(attributes)) plot.setAttribute(key, value);

    const point = (event) => {
      const box = svg.getBoundingClientRect();
      const step = x0 + (((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width - left) / (right - left) * (x1 - x0);
      show(rows.reduce((best, row, i) => (Math.abs(row[0] - step) < Math.abs(rows[best][0] - step) ? i : best), 0));
    };
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", () => document.activeElement !== plot && hide());
    plot.addEventListener("focus", () => plot.matches(":focus-visible") && show(now));
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const page = Math.max(Math.round(rows.length / 10), 1);
      const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: rows.length - 1, PageUp: now + page, PageDown: now - page }[event.key];
      if (event.key === "Escape") hide();
      if (to === undefined) return;
      event.preventDefault();
      show(to);
    });
  }

  // A self-contained drawing: with its styles, and its title and legend above it.
  const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "font-size", "font-weight", "font-variant-numeric", "white-space"];
  function standalone(figure) {
    const svg = [...figure.querySelectorAll("svg")].find((s) => s.getClientRects().length > 0);
    const copy = svg.cloneNode(true);
    const { width, height } = svg.viewBox.baseVal;
    copy.setAttribute("xmlns", SVG);
    if (figure.classList.contains("card")) {
      copy.setAttribute("width", width);
      copy.setAttribute("height", height);
      return { text: new XMLSerializer().serializeToString(copy), width, height };
    }
    const [from, to] = [svg, copy].map((s) => [...s.querySelectorAll("*")]);
    from.forEach((element, i) => {
      if (element.classList.contains("probe")) to[i].remove();
      const style = getComputedStyle(element);
      for (const name of STYLES) if (style.getPropertyValue(name)) to[i].style.setProperty(name, style.getPropertyValue(name));
    });
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    const pad = 14;
    const title = figure.querySelector("figcaption b")?.textContent ?? "Right answers of every model";
    const head = [make("text", { x: 0, y: -34, "font-size": 15, "font-weight": 700, fill: colour("--ink") })];
    head[0].textContent = title;
    let at = 0;
    for (const span of figure.querySelectorAll(".legend span")) {
      const key = span.querySelector(".key");
      const style = getComputedStyle(key);
      const diamond = span.dataset.key === "diamond";
      const mark = make("rect", { x: at, y: -22, width: 9, height: 9, rx: diamond ? 0 : 3, fill: style.backgroundColor, stroke: diamond ? style.borderTopColor : "none", "stroke-width": diamond ? 2 : 0 });
      if (diamond) mark.setAttribute("transform", `rotate(45 ${at + 4.5} -17.5)`);
      const name = make("text", { x: at + 14, y: -14, "font-size": 11.5, fill: colour("--soft") });
      name.textContent = span.textContent.trim();
      head.push(mark, name);
      at += 30 + 6.2 * name.textContent.length;
    }
    const box = [-pad, -56, Math.max(width, at) + 2 * pad, height + 56 + pad];
    copy.prepend(make("rect", { x: box[0], y: box[1], width: box[2], height: box[3], fill: colour("--card") }), ...head);
    copy.setAttribute("viewBox", box.join(" "));
    copy.setAttribute("width", 2 * box[2]);
    copy.setAttribute("height", 2 * box[3]);
    copy.setAttribute("font-family", "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif");
    copy.removeAttribute("class");
    return { text: new XMLSerializer().serializeToString(copy), width: 2 * box[2], height: 2 * box[3] };
  }

  function save(blob, name) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  function picture({ text, width, height }, name) {
    const image = new Image();
    image.onload = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, name), "image/png");
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  }

  for (const figure of document.querySelectorAll("figure.chart")) readable(figure);
  for (const button of document.querySelectorAll("[data-save]")) {
    button.hidden = false;
    button.setAttribute("aria-label", `Save as ${button.textContent}: ${button.dataset.name}`);
    button.addEventListener("click", () => {
      const drawing = standalone(button.closest("figure"));
      const name = `${button.dataset.name}.${button.dataset.save}`;
      if (button.dataset.save === "png") picture(drawing, name);
      else save(new Blob([drawing.text], { type: "image/svg+xml" }), name);
    });
  }
  // A place that scrolls is reached by the keyboard; one that does not is no stop on the way.
  const stops = () => {
    for (const place of document.querySelectorAll(".scroll")) {
      if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
      else place.removeAttribute("tabindex");
    }
  };
  stops();
  addEventListener("resize", stops);
  document.documentElement.dataset.ready = "true";
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
})();
