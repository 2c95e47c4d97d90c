"use strict";
// Contents, sorting, filtering, and images that open. Names of users are text of the page and nothing else.
document.querySelectorAll("main h2").forEach((heading, place) => {
  heading.id = `part-${place + 1}`;
  const link = document.createElement("a");
  link.href = `#${heading.id}`;
  link.textContent = heading.textContent;
  document.querySelector("nav").append(link);
});

const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
document.querySelectorAll("th[scope=col] button").forEach((button) => {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const body = heading.closest("table").tBodies[0];
    const numeric = heading.classList.contains("number");
    const before = heading.ariaSort;
    const order = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
    heading.parentElement.querySelectorAll("th").forEach((other) => (other.ariaSort = null));
    heading.ariaSort = order;
    const sign = order === "ascending" ? 1 : -1;
    const cells = [...body.rows].map((row) => {
      const cell = row.cells[heading.cellIndex];
      const there = "sort" in cell.dataset;
      return { row, there, key: numeric ? Number(cell.dataset.sort) : cell.textContent };
    });
    cells.sort((one, other) => {
      if (!(one.there && other.there)) return other.there - one.there;
      return sign * (numeric ? one.key - other.key : words.compare(one.key, other.key));
    });
    body.append(...cells.map((cell) => cell.row));
  });
});

document.querySelectorAll(".filtered").forEach((part) => {
  const field = part.querySelector("input[type=search]");
  if (!field) return;
  const items = [...part.querySelectorAll(".item")].map((item) => [item, item.textContent.toLowerCase()]);
  const filter = () => {
    const wanted = field.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const [item, text] of items) {
      item.hidden = !wanted.every((word) => text.includes(word));
      shown += !item.hidden;
    }
    part.querySelector("output").textContent = `${shown} of ${items.length}`;
  };
  field.addEventListener("input", filter);
  filter();
});

const dialog = document.querySelector("dialog");
document.addEventListener("click", (event) => {
  const image = event.target.closest(".picture")?.querySelector("img");
  if (image) {
    dialog.querySelector("img").src = image.src;
    dialog.querySelector("img").alt = image.alt;
    dialog.querySelector("p").textContent = image.alt;
    dialog.showModal();
  } else if (event.target === dialog || event.target.parentElement === dialog) dialog.close();
});
