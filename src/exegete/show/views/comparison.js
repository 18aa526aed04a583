// Arrow keys move through the units of each heat map of a comparison.
(function (root) {
  "use strict";
  if (!root) return;
  for (const text of root.querySelectorAll('[role="listbox"]')) {
    const units = [...text.querySelectorAll(".u[data-i]")];
    text.addEventListener("focusin", (event) => units.forEach((u) => {
      u.tabIndex = u === event.target ? 0 : -1;
      u.setAttribute("aria-selected", u === event.target ? "true" : "false");
    }));
    text.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const edge = { Home: 0, End: units.length - 1 }[event.key];
      if (step === undefined && edge === undefined) return;
      event.preventDefault();
      const i = units.indexOf(event.target);
      units[edge ?? Math.min(units.length - 1, Math.max(0, i + step))].focus();
    });
  }
})
