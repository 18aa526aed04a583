// The search boxes of a finding's tables: rows that do not hold the words are hidden.
(function (root) {
  "use strict";
  if (!root) return;
  for (const box of root.querySelectorAll("[data-filter]")) {
    const rows = [...box.closest("section").querySelectorAll("table.rows tbody tr")];
    box.addEventListener("input", () => {
      const words = box.value.trim().toLowerCase();
      for (const row of rows) row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
    });
  }
})
