// Makes a finding move: search boxes of tables; attention maps (thumbnails, one head open as heat map, arcs or neurons).
// Called with the root element and the payload of the picture. Text is only ever set as text, never as markup.
(function (root, data) {
  "use strict";
  if (!root) return;
  for (const box of root.querySelectorAll("[data-filter]")) {
    const rows = [...box.closest("section").querySelectorAll("table.rows tbody tr")];
    box.addEventListener("input", () => {
      const words = box.value.trim().toLowerCase();
      for (const row of rows) row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
    });
  }
  if (!data || !data.maps) return;

  const make = (tag, name, text) => {
    const e = document.createElement(tag);
    if (name) e.className = name;
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const number = (x) => {
    const size = Math.abs(x);
    if (size === 0) return "0";
    const text = size < 1e-3 || size >= 1e4 ? x.toExponential(1) : x.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
    return text.replaceAll("-", "\u2212");
  };
  const style = () => getComputedStyle(root);
  const channels = (name) => {
    const hex = style().getPropertyValue(name).trim();
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  };
  const colors = () => ({ paper: channels("--paper"), ink: channels("--ink"), pos: channels("--pos-mark"), neg: channels("--neg-mark"), mag: channels("--mag-mark") });
  const rgb = (c, alpha) => "rgba(" + c.join(",") + "," + alpha + ")";

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  // A canvas of w x h in the page's own units, sharp on dense screens.
  function canvas(w, h, most) {
    const c = make("canvas"), ratio = Math.min(2, window.devicePixelRatio || 1, (most || 16000) / Math.max(w, h, 1));
    c.width = Math.ceil(w * ratio); c.height = Math.ceil(h * ratio);
    c.style.width = w + "px"; c.style.height = h + "px";
    const pen = c.getContext("2d");
    pen.scale(ratio, ratio);
    return [c, pen];
  }

  async function start(box, d) {
    const rows = d.queries.length, columns = d.keys.length, size = rows * columns;
    const coded = new Uint8Array(await unpacked(d.data));
    const q = d.q ? new Int16Array(await unpacked(d.q)) : null, k = d.k ? new Int16Array(await unpacked(d.k)) : null;
    const level = Float64Array.from({ length: 256 }, (_, b) => {
      const r = d.signed ? (b - 128) / 127 : b / 255;
      return Math.sign(r) * r * r * d.end;
    });
    const at = (m, i, j) => level[coded[m * size + i * columns + j]];
    const find = (s) => box.querySelector(s);
    const stage = find(".map-stage"), detail = find(".detail"), slider = find("[data-threshold]");
    const state = { map: 0, view: "heat", least: d.threshold, from: -2, to: -2, token: null, side: 0 };
    slider.max = d.end; slider.step = d.end / 200; slider.value = d.threshold;

    const takes = (parts, chosen, i) => chosen < -1 || !parts.length || parts[i] === chosen;
    const places = (parts, chosen, n) => [...Array(n).keys()].filter((i) => takes(parts, chosen, i));
    const shownRows = () => places(d.queryParts, state.from, rows), shownColumns = () => places(d.keyParts, state.to, columns);
    const kept = (x) => (Math.abs(x) >= state.least ? x : 0);
    const topOf = (m, is, js) => {
      let top = 0;
      for (const i of is) for (const j of js) top = Math.max(top, Math.abs(at(m, i, j)));
      return top || 1;
    };
    const tone = (c, x) => (!d.signed ? c.mag : x >= 0 ? c.pos : c.neg);

    // ---- pictures of one map: an image of is x js cells, the largest weight of a block where there are fewer pixels
    function image(m, is, js, w, h) {
      const c = colors(), top = topOf(m, is, js), img = new ImageData(w, h);
      const values = new Float64Array(w * h);
      is.forEach((i, a) => js.forEach((j, b) => {
        const x = kept(at(m, i, j)), spot = Math.floor((a * h) / is.length) * w + Math.floor((b * w) / js.length);
        if (Math.abs(x) > Math.abs(values[spot])) values[spot] = x;
      }));
      values.forEach((x, s) => {
        const t = Math.abs(x) / top, end = tone(c, x);
        for (let i = 0; i < 3; i++) img.data[4 * s + i] = Math.round(c.paper[i] + (end[i] - c.paper[i]) * t);
        img.data[4 * s + 3] = 255;
      });
      return img;
    }
    function paintThumb(c, m) {
      const is = shownRows(), js = shownColumns();
      c.width = Math.max(1, Math.min(64, js.length)); c.height = Math.max(1, Math.min(64, is.length));
      if (is.length && js.length) c.getContext("2d").putImageData(image(m, is, js, c.width, c.height), 0, 0);
    }

    // ---- the grid of thumbnails
    const thumbs = find(".thumbs"), buttons = [];
    d.groups.forEach((name, g) => {
      const line = make("div", "thumb-row");
      line.append(make("span", "thumb-layer", name));
      d.names.forEach((title, m) => {
        if (d.group[m] !== g) return;
        const b = make("button", "thumb");
        b.type = "button"; b.tabIndex = m ? -1 : 0; b.dataset.map = m;
        const c = make("canvas");
        c.setAttribute("aria-hidden", "true");
        b.append(c, make("span", "", title));
        b.setAttribute("aria-label", "open " + title);
        b.addEventListener("click", () => open(m));
        line.append(b);
        buttons[m] = b;
      });
      thumbs.append(line);
    });
    thumbs.addEventListener("keydown", (e) => {
      const here = buttons.indexOf(e.target.closest(".thumb"));
      const across = { ArrowRight: 1, ArrowLeft: -1 }[e.key], down = { ArrowDown: 1, ArrowUp: -1 }[e.key];
      if (here < 0 || (across === undefined && down === undefined)) return;
      e.preventDefault();
      const row = (g) => buttons.map((_, m) => m).filter((m) => d.group[m] === g);
      const mine = row(d.group[here]), other = down === undefined ? [] : row(d.group[here] + down);
      const next = across !== undefined ? here + across : other[Math.min(mine.indexOf(here), other.length - 1)];
      if (buttons[next]) { buttons[here].tabIndex = -1; buttons[next].tabIndex = 0; buttons[next].focus(); }
    });

    // ---- one head open
    const say = (text) => (detail.textContent = text);
    const link = (i, j) => d.queries[i] + " → " + d.keys[j] + ": " + number(at(state.map, i, j));
    const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
    const ink = (name) => style().getPropertyValue(name).trim();
    const font = () => "12px " + ink("--sans");

    function heat() {
      const is = shownRows(), js = shownColumns(), room = stage.clientWidth || 640;
      const left = 110, head = 84;
      const cell = Math.max(1, Math.min(26, Math.floor(Math.min(room - left - 60, 900) / Math.max(js.length, 1))));
      const w = js.length * cell, h = is.length * cell, every = Math.ceil(12 / cell);
      const [c, pen] = canvas(left + w + 60, head + h + 4);
      const img = image(state.map, is, js, js.length, is.length), small = make("canvas");
      small.width = js.length; small.height = is.length;
      small.getContext("2d").putImageData(img, 0, 0);
      const draw = (a, b) => {
        pen.clearRect(0, 0, left + w + 60, head + h + 4);
        pen.imageSmoothingEnabled = false;
        pen.drawImage(small, left, head, w, h);
        pen.strokeStyle = ink("--rule"); pen.strokeRect(left - 0.5, head - 0.5, w + 1, h + 1);
        pen.font = font(); pen.textBaseline = "middle"; pen.textAlign = "right";
        is.forEach((i, y) => {
          if (y % every && y !== a) return;
          pen.fillStyle = ink(y === a ? "--ink" : "--muted");
          pen.fillText(short(d.queries[i], 15), left - 6, head + (y + 0.5) * cell);
        });
        pen.textAlign = "left";
        js.forEach((j, x) => {
          if (x % Math.ceil(16 / cell) && x !== b) return;
          pen.save(); pen.translate(left + (x + 0.5) * cell, head - 6); pen.rotate(-Math.PI / 3.4);
          pen.fillStyle = ink(x === b ? "--ink" : "--muted"); pen.fillText(short(d.keys[j], 13), 0, 0); pen.restore();
        });
        if (a === undefined) return;
        pen.strokeStyle = ink("--ink"); pen.lineWidth = 1;
        pen.strokeRect(left + b * cell, head + a * cell, cell, cell);
        pen.globalAlpha = 0.35; pen.strokeRect(left, head + a * cell, w, cell); pen.strokeRect(left + b * cell, head, cell, h); pen.globalAlpha = 1;
      };
      let spot = [0, 0];
      const choose = (a, b) => { spot = [a, b]; draw(a, b); say(link(is[a], js[b])); };
      c.tabIndex = 0; c.setAttribute("role", "img");
      c.setAttribute("aria-label", "heat map of " + d.names[state.map] + ", arrow keys move between its cells");
      c.addEventListener("mousemove", (e) => {
        const a = Math.floor((e.offsetY - head) / cell), b = Math.floor((e.offsetX - left) / cell);
        if (a >= 0 && b >= 0 && a < is.length && b < js.length) choose(a, b);
      });
      c.addEventListener("mouseleave", () => draw());
      c.addEventListener("keydown", (e) => {
        const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[e.key];
        if (!step) return;
        e.preventDefault();
        const clip = (x, n) => Math.max(0, Math.min(n - 1, x));
        choose(clip(spot[0] + step[0], is.length), clip(spot[1] + step[1], js.length));
      });
      draw();
      const frame = make("div", "scroll");
      frame.append(c);
      stage.replaceChildren(frame);
    }

    const LINES = 4000;
    function arcs() {
      const is = shownRows(), js = shownColumns(), step = 22, wide = 260;
      const height = Math.max(is.length, js.length, 1) * step, top = topOf(state.map, is, js), c = colors();
      const [middle, pen] = canvas(wide, height);
      middle.setAttribute("aria-hidden", "true");
      const all = [];
      is.forEach((i, a) => js.forEach((j, b) => {
        const x = kept(at(state.map, i, j));
        if (Math.abs(x) > top / 200) all.push([x, a, b]);
      }));
      all.sort((x, y) => Math.abs(x[0]) - Math.abs(y[0]));
      const lines = all.slice(-LINES);
      const drawLines = (side, spot) => {
        pen.clearRect(0, 0, wide, height);
        for (const [x, a, b] of lines) {
          const chosen = spot === undefined || (side ? b : a) === spot;
          if (!chosen) continue;
          pen.strokeStyle = rgb(tone(c, x), Math.max(0.05, Math.abs(x) / top));
          pen.lineWidth = 0.6 + 2.4 * (Math.abs(x) / top);
          pen.beginPath(); pen.moveTo(0, (a + 0.5) * step);
          pen.bezierCurveTo(wide / 2, (a + 0.5) * step, wide / 2, (b + 0.5) * step, wide, (b + 0.5) * step); pen.stroke();
        }
      };
      const lists = [[is, d.queries], [js, d.keys]].map(([places, words], side) => {
        const list = make("div", side ? "arc-tokens keys" : "arc-tokens queries");
        list.setAttribute("role", "listbox");
        list.setAttribute("aria-label", side ? "keys: where the head looks" : "queries: which token looks");
        places.forEach((p, y) => {
          const t = make("span", "arc-token", words[p]);
          t.tabIndex = y ? -1 : 0;
          t.setAttribute("role", "option");
          t.setAttribute("aria-selected", "false");
          t.addEventListener("mouseenter", () => choose(side, y));
          t.addEventListener("focus", () => choose(side, y));
          list.append(t);
        });
        list.addEventListener("mouseleave", () => choose(side));
        list.addEventListener("keydown", (e) => {
          const move = { ArrowDown: 1, ArrowUp: -1 }[e.key], all = [...list.children];
          const next = all[all.indexOf(e.target) + move];
          if (!move || !next) return;
          e.preventDefault(); e.target.tabIndex = -1; next.tabIndex = 0; next.focus();
        });
        return list;
      });
      const choose = (side, y) => {
        drawLines(side, y);
        lists.forEach((list, s) => [...list.children].forEach((t, p) => {
          const weight = y === undefined || s === side ? 0 : kept(side ? at(state.map, is[p], js[y]) : at(state.map, is[y], js[p]));
          t.style.background = weight ? rgb(tone(c, weight), 0.75 * Math.abs(weight) / top) : "";
          t.setAttribute("aria-selected", s === side && p === y ? "true" : "false");
        }));
        if (y === undefined) return say(lines.length < all.length ? "The " + LINES + " strongest of " + all.length + " lines." : "Point at a token to see its lines alone.");
        const mine = lines.filter(([, a, b]) => (side ? b : a) === y).slice(-3).reverse();
        say(mine.length ? mine.map(([, a, b]) => link(is[a], js[b])).join(" · ") : "No line of this token is above the threshold.");
      };
      const frame = make("div", "arcs tall");
      frame.append(lists[0], middle, lists[1]);
      stage.replaceChildren(frame);
      choose(0);
    }

    // ---- q, k and their product, for one query
    function neurons() {
      const is = shownRows(), js = shownColumns(), n = d.width;
      if (state.token === null || !is.includes(state.token)) state.token = is[is.length - 1];
      const i = state.token, m = state.map, c = colors(), room = Math.max(420, stage.clientWidth || 640);
      const left = 110, right = 150, gap = 14, strip = Math.max(40, Math.floor((room - left - right - gap) / 2)), row = 20, head = 56;
      const qs = [...Array(n).keys()].map((u) => (q[(m * rows + i) * n + u] / 32767) * d.qEnd);
      const ks = js.map((j) => [...Array(n).keys()].map((u) => (k[(m * columns + j) * n + u] / 32767) * d.kEnd));
      const both = ks.map((x) => x.map((y, u) => y * qs[u])), dots = both.map((x) => x.reduce((s, y) => s + y, 0));
      const top = (xs) => Math.max(1e-12, ...xs.flat().map(Math.abs));
      const tops = [top(qs), top(ks), top(both), top(dots)];
      const [pic, pen] = canvas(left + 2 * strip + gap + right, head + js.length * row + 4);
      const bars = (xs, end, x0, y0) => xs.forEach((x, u) => {
        const t = Math.abs(x) / end, w = strip / n;
        pen.fillStyle = rgb(x >= 0 ? c.pos : c.neg, t); pen.fillRect(x0 + u * w, y0 + 2, Math.max(w - (w > 3 ? 0.5 : 0), 0.5), row - 4);
      });
      pen.font = font(); pen.textBaseline = "middle"; pen.fillStyle = ink("--muted");
      pen.textAlign = "right"; pen.fillText("q of " + short(d.queries[i], 10), left - 6, 10);
      bars(qs, tops[0], left, 0);
      pen.fillStyle = ink("--muted"); pen.textAlign = "left";
      ["k of each token", "q × k", "q · k", d.unit].forEach((t, s) => pen.fillText(t, [left, left + strip + gap, left + 2 * strip + gap + 12, left + 2 * strip + gap + 78][s], 40));
      js.forEach((j, y) => {
        const y0 = head + y * row, far = left + 2 * strip + gap + 12, x = at(m, i, j);
        pen.fillStyle = ink("--muted"); pen.textAlign = "right"; pen.fillText(short(d.keys[j], 15), left - 6, y0 + row / 2);
        bars(ks[y], tops[1], left, y0); bars(both[y], tops[2], left + strip + gap, y0);
        pen.fillStyle = rgb(dots[y] >= 0 ? c.pos : c.neg, 0.6 * Math.abs(dots[y]) / tops[3]); pen.fillRect(far, y0 + 2, 56, row - 4);
        pen.fillStyle = rgb(c.mag, 0.6 * Math.max(0, x) / topOf(m, [i], js)); pen.fillRect(far + 66, y0 + 2, 60, row - 4);
        pen.fillStyle = ink("--ink"); pen.textAlign = "left";
        pen.fillText(number(dots[y]), far + 3, y0 + row / 2); pen.fillText(number(x), far + 69, y0 + row / 2);
      });
      const pick = make("label", "filter", "query "), choice = make("select");
      is.forEach((p) => { const o = make("option", "", p + " " + d.queries[p]); o.value = p; o.selected = p === i; choice.append(o); });
      choice.addEventListener("change", () => { state.token = Number(choice.value); neurons(); });
      pick.append(choice);
      pic.setAttribute("role", "img"); pic.setAttribute("aria-label", "q, k and their product for " + d.queries[i]);
      const frame = make("div", "scroll");
      frame.append(pic);
      stage.replaceChildren(pick, frame);
      say(d.scale === null ? "The score adds more to q · k than a factor (a position bias or a cap)." : "Attention is the softmax of " + number(d.scale) + " (q · k) over the keys that are seen.");
    }

    const views = { heat, arcs, neurons };
    function open(m) {
      state.map = m;
      buttons.forEach((b, i) => { b.classList.toggle("on", i === m); b.setAttribute("aria-pressed", i === m ? "true" : "false"); });
      find(".map-name").textContent = d.names[m];
      show();
    }
    function show() {
      for (const b of box.querySelectorAll("[data-view]")) b.setAttribute("aria-pressed", b.dataset.view === state.view ? "true" : "false");
      find("output").textContent = number(state.least);
      say("Point at a token or a cell for numbers.");
      if (shownRows().length && shownColumns().length) views[state.view]();
      else { stage.replaceChildren(); say("This sentence has no token here."); }
    }
    function all() {
      buttons.forEach((b, m) => paintThumb(b.querySelector("canvas"), m));
      show();
    }
    for (const b of box.querySelectorAll("[data-view]")) b.addEventListener("click", () => { state.view = b.dataset.view; show(); });
    slider.addEventListener("input", () => { state.least = Number(slider.value); show(); });
    slider.addEventListener("change", all);
    for (const name of ["from", "to"]) {
      const select = find("[data-" + name + "]");
      if (select) select.addEventListener("change", () => { state[name] = Number(select.value); all(); });
    }
    find(".map-open").hidden = false;
    open(0);
    all();
    box.dataset.ready = "yes";
    if (window.matchMedia) matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  }

  root.querySelectorAll(".maps").forEach((box, i) => {
    start(box, data.maps[i]).catch((e) => {
      box.querySelector(".maps-said").textContent = "The maps could not be drawn by this browser (" + e.message + "); they are in the saved result.";
    });
  });
})
