"use strict";
// The page is complete without this: it makes tables sortable, says which of them scroll, and shows the
// curves of one budget at a time.

function sortRows(table, column, direction) {
  const body = table.tBodies[0];
  const key = (row) => row.cells[column].dataset.value;
  const numeric = [...body.rows].some((row) => key(row) !== undefined);
  const compare = (a, b) => {
    if (!numeric) {
      return direction * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en");
    }
    // Cells without a number come last in both directions.
    if (key(a) === undefined || key(b) === undefined) {
      return (key(a) === undefined) - (key(b) === undefined);
    }
    return direction * (parse(key(a)) - parse(key(b)));
  };
  body.append(...[...body.rows].sort(compare));
}

function parse(text) {
  return text === "inf" ? Number.MAX_VALUE : text === "-inf" ? -Number.MAX_VALUE : Number(text);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      sortRows(table, column, direction);
    });
  });
}

const markWide = (region) => region.classList.toggle("wide", region.scrollWidth > region.clientWidth + 1);
const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => markWide(target)));
for (const region of document.querySelectorAll(".scroll")) {
  markWide(region);
  resized.observe(region);
}

for (const choice of document.querySelectorAll("fieldset.switch")) {
  const parts = [...choice.parentElement.querySelectorAll("[data-budget]")];
  const show = () => {
    const budget = choice.querySelector("input:checked").value;
    parts.forEach((part) => part.classList.toggle("off", part.dataset.budget !== budget));
  };
  choice.addEventListener("change", show);
  choice.hidden = false;
  show();
}
