"use strict";

// Tables of class "sortable": a click on a column's title sorts by it, another one turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const titles = [...table.tHead.rows[0].cells];
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...title.childNodes);
    title.append(button);
    button.addEventListener("click", () => {
      const down = title.getAttribute("aria-sort") === "ascending";
      titles.forEach((other) => other.removeAttribute("aria-sort"));
      title.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((one, other) => compare(key(one), key(other)));
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    });
  });
}

function compare(one, other) {
  const numbers = [Number(one), Number(other)];
  if (one !== "" && other !== "" && !numbers.some(Number.isNaN)) return numbers[0] - numbers[1];
  if (one === "" || other === "") return (one === "") - (other === "");
  return one.localeCompare(other);
}

// Forms of class "filter": they show the items of one list that have an error of a kind, made by a system.
// An item is of one system (data-system, data-kinds) or of several (data-errors: kinds of errors by system).
for (const form of document.querySelectorAll("form.filter")) {
  const list = document.getElementById(form.dataset.list);
  const items = [...list.querySelectorAll("[data-errors], [data-kinds]")];
  const errors = new Map(items.map((item) => [item, errorsOf(item)]));
  const show = () => {
    const { system, kind, text } = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const item of items) {
      const own = errors.get(item);
      const kinds = system ? (own[system] ?? []) : Object.values(own).flat();
      const shownSystem = !system || (item.dataset.system ? item.dataset.system === system : kinds.length > 0);
      const wanted = shownSystem && (!kind || kinds.includes(kind)) &&
        (!text || item.textContent.toLowerCase().includes(text.toLowerCase()));
      item.hidden = !wanted;
      shown += wanted;
    }
    form.querySelector(".shown").textContent = `${shown} of ${items.length}`;
    if (form.elements.order) list.append(...inOrder(items, form.elements.order.value, system));
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}

// Utterances are given with the most changed ones first.
function inOrder(items, order, system) {
  if (order !== "most errors") return items;
  const counted = items.map((item) => {
    const counts = JSON.parse(item.dataset.counts);
    const count = system ? counts[system] : Object.values(counts).reduce((sum, own) => sum + own, 0);
    return { item, count };
  });
  return counted.sort((one, other) => other.count - one.count).map(({ item }) => item);
}

function errorsOf(item) {
  const { errors, system, kinds } = item.dataset;
  return errors ? JSON.parse(errors) : { [system]: kinds.split(" ").filter(Boolean) };
}
