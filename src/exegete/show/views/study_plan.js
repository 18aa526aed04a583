// Runs a study: one item after another, answers kept in this browser and handed out as a file; nothing is sent anywhere.
// Called with the root element and the payload of the picture. Text is only ever set as text, never as markup.
(function (root, data) {
  "use strict";
  if (!root || !data) return;
  const find = (name) => root.querySelector("[data-" + name + "]");
  const start = find("start"), page = find("item"), end = find("end-of-study"), next = find("next");
  const place = "exegete-study-" + data.key;
  let state = null, shownAt = 0, reloaded = false, chosen = null;

  // ---- what is kept: one record a participant, and whose turn it is --------------------------------------------------
  const keep = (name, value) => {
    try { localStorage.setItem(name, JSON.stringify(value)); return true; } catch { return false; }
  };
  const kept = (name) => {
    try { return JSON.parse(localStorage.getItem(name)); } catch { return null; }
  };
  const mine = (who) => place + "-" + who;
  const save = () => keep(mine(state.participant), state);

  function enter(who) {
    const before = kept(mine(who));
    const fits = before && before.study === data.key && before.participant === who && Array.isArray(before.answers);
    state = fits ? before : { study: data.key, participant: who, answers: [], pending: null };
    reloaded = Boolean(fits && before.pending);
    if (!keep(place, who)) find("said").textContent = "This browser keeps nothing: do not reload the page.";
    save();
    show();
  }

  // ---- one item ------------------------------------------------------------------------------------------------------
  const index = () => data.order[state.participant - 1][state.answers.length];
  const condition = (i) => data.conditions[data.assigned[state.participant - 1][i]];
  const asksFirst = (i) => data.first && condition(i) !== "alone";

  function words(box, item, coloured) {
    if (!coloured) { box.replaceChildren(document.createTextNode(item.text)); return; }
    const top = Math.max(...item.words.map((w) => Math.abs(w[1]))) || 1;
    box.replaceChildren(...item.words.map(([word, score]) => {
      if (!score) return document.createTextNode(word);
      const span = document.createElement("span"), tip = (score / top).toFixed(2).replace("-", "\u2212");
      span.className = "u " + (score > 0 ? "pos" : "neg");
      span.style.setProperty("--s", Math.abs(score) / top);
      span.textContent = word;
      span.dataset.tip = tip;
      span.title = word + ": " + tip;
      return span;
    }));
  }

  function options(item) {
    const box = find("options");
    box.replaceChildren(...item.options.map((option, k) => {
      const label = document.createElement("label"), input = document.createElement("input"), key = document.createElement("kbd");
      input.type = "radio"; input.name = root.id + "-answer"; input.value = String(k);
      input.addEventListener("change", () => { chosen = k; next.disabled = false; });
      key.textContent = String(k + 1);
      label.append(input, key, document.createTextNode(option));
      return label;
    }));
  }

  function show() {
    const total = data.items.length, done = state.answers.length;
    start.hidden = true;
    if (done >= total) return finish();
    const i = index(), item = data.items[i], last = !asksFirst(i) || state.pending !== null;
    const shown = last ? condition(i) : "alone";
    page.hidden = false;
    find("progress").textContent = "Text " + (done + 1) + " of " + total + (asksFirst(i) && last ? ": and now?" : "");
    find("bar").value = (done + (asksFirst(i) && last ? 0.5 : 0)) / total;
    words(find("text"), item, shown === "explained" && item.words.length > 0);
    find("told").hidden = shown === "alone";
    find("model").textContent = shown === "alone" ? "" : item.model;
    find("why").hidden = shown !== "explained" || !item.explanation;
    find("explanation").textContent = shown === "explained" ? item.explanation : "";
    find("coloured").hidden = shown !== "explained" || !item.words.length;
    const before = state.pending === null ? "" : " (before, you said: " + item.options[item.values.indexOf(state.pending.first)] + ")";
    find("question").textContent = (item.question || "Which answer is right?") + before;
    options(item);
    chosen = null; next.disabled = true;
    find("progress").focus({ preventScroll: true });
    page.scrollIntoView({ block: "nearest" });
    shownAt = performance.now();
  }

  function forward() {
    if (chosen === null || page.hidden) return;
    const i = index(), said = data.items[i].values[chosen], seconds = Math.round(performance.now() - shownAt) / 1000;
    if (asksFirst(i) && state.pending === null) {
      state.pending = { item: i, condition: condition(i), first: said, first_seconds: seconds };
      if (reloaded) state.pending.reloaded = true;
    } else {
      const answer = Object.assign({ item: i, condition: condition(i) }, state.pending, { last: said, last_seconds: seconds });
      if (reloaded) answer.reloaded = true;
      state.answers.push(answer);
      state.pending = null;
    }
    reloaded = false;
    save();
    show();
  }

  // ---- the end -------------------------------------------------------------------------------------------------------
  const text = () => JSON.stringify({ study: state.study, participant: state.participant, answers: state.answers }, null, 1);

  function finish() {
    page.hidden = true; end.hidden = false;
    find("copy").value = text();
    end.querySelector("h2").focus();
  }

  find("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text()], { type: "application/json" }));
    link.download = "answers-" + data.key + "-" + state.participant + ".json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  find("again").addEventListener("click", () => {
    keep(place, null);
    end.hidden = true; start.hidden = false; find("who").value = ""; find("who").focus();
  });
  function begin() {
    const who = Number(find("who").value), most = data.assigned.length;
    if (!Number.isInteger(who) || who < 1 || who > most) {
      find("said").textContent = "Give a whole number from 1 to " + most + ".";
      find("who").focus();
      return;
    }
    find("said").textContent = "";
    enter(who);
  }
  find("begin").addEventListener("click", begin);
  find("who").addEventListener("keydown", (e) => { if (e.key === "Enter") begin(); });
  next.addEventListener("click", forward);
  root.addEventListener("keydown", (e) => {
    if (page.hidden || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Enter" && e.target !== next) { e.preventDefault(); forward(); return; }
    const inputs = find("options").querySelectorAll("input"), k = Number(e.key) - 1;
    if (/^[1-9]$/.test(e.key) && inputs[k]) { e.preventDefault(); inputs[k].focus(); inputs[k].click(); }
  });

  const turn = kept(place);
  if (Number.isInteger(turn) && turn >= 1 && turn <= data.assigned.length) enter(turn);
})
