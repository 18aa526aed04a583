// Makes an attribution move: details of a unit on focus, hover and arrow keys; another output repaints text, bars, legend.
// Called with the root element and the payload of the picture. Text is only ever set as text, never as markup.
(function (root, data) {
  "use strict";
  if (!root) return;
  const units = [...root.querySelectorAll(".u[data-i]")].sort((a, b) => a.dataset.i - b.dataset.i);
  const rows = [...root.querySelectorAll(".bars li")];
  const detail = root.querySelector(".detail");
  const canvas = root.querySelector("canvas");
  let shown = -1;

  const minus = (text) => text.replaceAll("-", "\u2212"); // a true minus sign
  const number = (x, sign) => {
    if (x === null) return "n/a";
    const size = Math.abs(x), plus = sign && x > 0 ? "+" : "";
    if (size === 0) return "0";
    if (size < 1e-3 || size >= 1e4) return minus(plus + x.toExponential(1));
    return minus(plus + x.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size)))));
  };
  const aligned = (x, end, sign) => {
    if (x === null || end < 1e-3 || end >= 1e4) return number(x, sign);
    const text = x.toFixed(Math.max(0, 2 - Math.floor(Math.log10(end))));
    return Number(text) === 0 ? text.replace("-", "") : minus((sign && x > 0 ? "+" : "") + text);
  };
  const scores = (k) => (k < 0 ? data.total : data.rows[k]);
  const errors = (k) => (k < 0 && data.stderr ? data.stderr : null);
  const top = (xs) => Math.max(0, ...xs.map((x) => Math.abs(x ?? 0))) || 1;
  const kind = (x) => (!data.signed ? "mag" : x >= 0 ? "pos" : "neg");
  const ordinal = (n) => n + (n % 100 > 10 && n % 100 < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[n % 10] || "th");

  function ranks(xs) {
    const order = xs.map((x, i) => [Math.abs(x ?? 0), i]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    const rank = [];
    order.forEach(([, i], k) => (rank[i] = k + 1));
    return rank;
  }

  function words(i) {
    const xs = scores(shown), e = errors(shown), end = top(xs);
    if (xs[i] === null) return "not read yet, or not asked for";
    const all = xs.reduce((sum, x) => sum + Math.abs(x ?? 0), 0) || 1;
    const share = Math.round((100 * Math.abs(xs[i])) / all);
    return [
      aligned(xs[i], end, data.signed) + (e && e[i] !== null ? " ± " + aligned(e[i], end) : ""),
      ordinal(ranks(xs)[i]) + " of " + xs.length,
      share + " % of all |score|",
      data.places[i],
    ].filter(Boolean).join(" · ");
  }

  function tell(i) {
    const name = document.createElement("b");
    name.textContent = data.units[i];
    detail.replaceChildren(name, "  " + words(i));
    units.forEach((u, k) => u.classList.toggle("lit", k === i));
    rows.forEach((r, k) => r.classList.toggle("lit", k === i));
  }

  function select(i) {
    units.forEach((u, k) => {
      u.tabIndex = k === i ? 0 : -1;
      u.setAttribute("aria-selected", k === i ? "true" : "false");
    });
    tell(i);
  }

  function bar(row, x, e, below, width, end) {
    const b = row.querySelector(".bar"), w = row.querySelector(".error"), at = (v) => (v + below) / width;
    const value = data.signed ? x ?? 0 : Math.abs(x ?? 0);
    b.className = "bar " + kind(value);
    b.style.setProperty("--l", Math.min(at(0), at(value)));
    b.style.setProperty("--w", Math.abs(value) / width);
    if (w) {
      w.hidden = e === null;
      w.style.setProperty("--e", at(value - (e || 0)));
      w.style.setProperty("--f", (2 * (e || 0)) / width);
    }
    row.querySelector(".num > span").textContent = aligned(x, end, data.signed);
    const small = row.querySelector("small");
    if (small) small.textContent = e === null ? "" : "± " + aligned(e, end);
  }

  function paint(k) {
    shown = k;
    const xs = scores(k), es = errors(k), end = top(xs), rank = ranks(xs);
    const error = (i) => (es && es[i] !== null ? es[i] : null);
    const low = xs.map((x, i) => (data.signed ? x ?? 0 : Math.abs(x ?? 0)) - (error(i) || 0));
    const high = xs.map((x, i) => (data.signed ? x ?? 0 : Math.abs(x ?? 0)) + (error(i) || 0));
    const below = Math.max(0, -Math.min(0, ...low)), width = below + Math.max(0, ...high) || 1;
    units.forEach((u, i) => {
      const tail = ["prefix", "special"].filter((c) => u.classList.contains(c)).map((c) => " " + c).join("");
      u.className = "u " + (xs[i] === null ? "off" : kind(xs[i])) + tail;
      u.style.setProperty("--s", Math.min(1, Math.abs(xs[i] ?? 0) / end).toFixed(4));
      u.dataset.tip = xs[i] === null ? "not read yet" : aligned(xs[i], end, data.signed) + (error(i) !== null ? " ± " + aligned(error(i), end) : "");
      u.setAttribute("aria-label", data.units[i] + ": " + (xs[i] === null ? "not read yet" : aligned(xs[i], end, data.signed) +
        (error(i) !== null ? ", standard error " + aligned(error(i), end) : "") + ", " + ordinal(rank[i]) + " of " + xs.length));
    });
    const list = root.querySelector(".bars");
    list.style.setProperty("--zero", below / width);
    rows.forEach((r, i) => bar(r, xs[i], error(i), below, width, end));
    root.querySelectorAll("[data-end]").forEach((s) => (s.textContent = number(end)));
  }

  function move(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const edge = { Home: 0, End: units.length - 1 }[event.key];
    if (step === undefined && edge === undefined) return;
    const i = units.indexOf(event.target.closest(".u"));
    const next = edge ?? Math.min(units.length - 1, Math.max(0, i + step));
    event.preventDefault();
    units[next].focus();
  }

  function matrix() {
    if (!canvas || !data.rows.length) return;
    const style = getComputedStyle(root), color = (name) => style.getPropertyValue(name).trim();
    const n = data.units.length, m = data.rows.length, room = canvas.parentElement.clientWidth || 700;
    const pen = canvas.getContext("2d"), end = Math.max(...data.rows.map(top));
    const fit = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
    const family = style.getPropertyValue("--serif"), small = "13px " + family, plain = "14px " + family;
    const widest = (font, words) => { pen.font = font; return Math.max(0, ...words.map((x) => pen.measureText(x).width)); };
    const left = 14 + Math.ceil(widest("bold " + plain, data.outputs.map((o) => fit(o, 15))));
    const cell = Math.max(7, Math.min(54, Math.floor((room - left - 30) / n))), height = 24;
    const labels = cell >= 14 ? data.units.map((u) => fit(u, 12)) : [];
    const head = 12 + Math.ceil(0.71 * widest(small, labels));
    const w = left + n * cell + (labels.length ? 30 : 0), h = head + m * height + 1, ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = w * ratio; canvas.height = h * ratio;
    canvas.style.width = w + "px"; canvas.style.height = h + "px";
    pen.scale(ratio, ratio);
    pen.fillStyle = color("--muted"); pen.font = small;
    labels.forEach((u, i) => {
      pen.save(); pen.translate(left + (i + 0.5) * cell, head - 6); pen.rotate(-Math.PI / 4); pen.fillText(u, 0, 0); pen.restore();
    });
    data.rows.forEach((row, k) => {
      pen.globalAlpha = 1; pen.textAlign = "right"; pen.font = (k === shown ? "bold " : "") + plain;
      pen.fillStyle = color(k === shown ? "--ink" : "--muted");
      pen.fillText(fit(data.outputs[k], 15), left - 8, head + k * height + 17);
      row.forEach((x, i) => {
        if (x === null) return;
        const box = [left + i * cell + 0.5, head + k * height + 0.5, cell, height];
        pen.globalAlpha = Math.min(1, Math.abs(x) / end);
        pen.fillStyle = color({ pos: "--pos", neg: "--neg", mag: "--mag" }[kind(x)]); pen.fillRect(...box);
        pen.globalAlpha = 1; pen.strokeStyle = color("--rule"); pen.strokeRect(...box);
      });
    });
    canvas.onmousemove = (e) => {
      const i = Math.floor((e.offsetX - left) / cell), k = Math.floor((e.offsetY - head) / height);
      const there = i >= 0 && i < n && k >= 0 && k < m;
      canvas.title = there ? data.units[i] + " → " + data.outputs[k] + ": " + number(data.rows[k][i], data.signed) : "";
    };
  }

  units.forEach((u, i) => {
    u.addEventListener("focus", () => select(i));
    u.addEventListener("mouseenter", () => tell(i));
    u.addEventListener("keydown", move);
  });
  rows.forEach((r, i) => {
    r.addEventListener("mouseenter", () => tell(i));
    r.addEventListener("click", () => units[i] && units[i].focus());
  });
  root.querySelectorAll(".outputs input").forEach((input) =>
    input.addEventListener("change", () => { paint(Number(input.value)); matrix(); }));
  paint(-1);
  matrix();
  window.addEventListener("resize", matrix);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", matrix);
})
