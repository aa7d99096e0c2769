"use strict";
// A table that sorts, filters and pages. All text goes in as textContent, so nothing in the data can run.

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const PRINTED = 1000;
const SIZES = [25, 100, 500];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

class DataTable {
  // columns: {title, key(row), cell(row) -> nodes, number}; filters: {title, test(row, arm), on}; details(row) -> nodes
  constructor(place, rows, { columns, filters = [], arms = [], text, details, sort, noun }) {
    Object.assign(this, { place, rows, columns, filters, details, noun });
    this.arm = arms[0];
    this.texts = rows.map((row) => text(row).join("\n").toLowerCase());
    this.column = sort ? columns.findIndex((column) => column.title === sort) : -1;
    this.down = Boolean(sort);
    this.query = "";
    this.page = 0;
    this.size = SIZES[0];
    this.build(arms);
    this.update();
    addEventListener("beforeprint", () => this.show(0, PRINTED));
    addEventListener("afterprint", () => this.show(this.page, this.size));
  }

  build(arms) {
    const search = make("input", { type: "search", "aria-label": `Search ${this.noun}`, placeholder: "Search" });
    search.addEventListener("input", () => this.change(() => (this.query = search.value.toLowerCase())));
    const controls = make("div", { class: "controls" }, search);
    if (this.filters.length) controls.append(this.buildFilters(arms));
    this.count = make("p", { class: "count", role: "status" });
    this.body = make("tbody", { role: "rowgroup" });
    this.heads = this.columns.map((column, i) => this.buildHead(column, i));
    const head = make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...this.heads));
    const caption = make("caption", { class: "hidden" }, this.place.dataset.title);
    const table = make("table", { class: "cards data", role: "table" }, caption, head, this.body);
    this.place.append(controls, this.count, table, this.buildPager());
  }

  buildFilters(arms) {
    const group = make("div", { class: "filters", role: "group", "aria-label": `Filter ${this.noun}` });
    if (arms.length > 1) {
      const choose = make("select", {}, ...arms.map((arm) => make("option", { value: arm }, arm)));
      choose.addEventListener("change", () => this.change(() => (this.arm = choose.value)));
      group.append(make("label", {}, "Judge ", choose));
    }
    this.buttons = this.filters.map((filter) => {
      const button = make("button", { type: "button", "aria-pressed": "false" });
      button.addEventListener("click", () => this.change(() => (filter.on = !filter.on)));
      return button;
    });
    group.append(...this.buttons);
    return group;
  }

  buildHead(column, i) {
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      this.down = this.column === i && !this.down;
      this.change(() => (this.column = i));
    });
    return make("th", { scope: "col", role: "columnheader", ...(column.number && { class: "number" }) }, button);
  }

  buildPager() {
    const step = (by) => this.change(() => {}, this.page + by);
    this.previous = make("button", { type: "button" }, "Previous");
    this.next = make("button", { type: "button" }, "Next");
    this.previous.addEventListener("click", () => step(-1));
    this.next.addEventListener("click", () => step(1));
    this.where = make("span");
    const size = make("select", { "aria-label": "Rows a page" });
    size.append(...SIZES.map((n) => make("option", { value: n }, `${n} a page`)));
    size.addEventListener("change", () => this.change(() => (this.size = Number(size.value))));
    this.pager = make("nav", { class: "pager", "aria-label": `Pages of ${this.noun}` }, this.previous, this.where, this.next, size);
    return this.pager;
  }

  change(apply, page = 0) {
    apply();
    this.page = page;
    this.update();
  }

  update() {
    const words = this.query.split(/\s+/).filter(Boolean);
    const active = this.filters.filter((filter) => filter.on);
    this.found = [...this.rows.keys()].filter(
      (i) =>
        words.every((word) => this.texts[i].includes(word)) && active.every((f) => f.test(this.rows[i], this.arm)),
    );
    if (this.column >= 0) this.sort();
    this.filters.forEach((filter, i) => {
      const n = this.rows.filter((row) => filter.test(row, this.arm)).length;
      this.buttons[i].textContent = `${filter.title} (${n})`;
      this.buttons[i].setAttribute("aria-pressed", String(Boolean(filter.on)));
    });
    this.show(this.page, this.size);
  }

  sort() {
    const keys = this.rows.map(this.columns[this.column].key);
    const sign = this.down ? -1 : 1;
    this.found.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      if (x === null || y === null) return (x === null) - (y === null) || a - b; // what has no value comes last
      return sign * (typeof x === "number" ? x - y : collator.compare(x, y)) || a - b;
    });
  }

  show(page, size) {
    const last = Math.max(0, Math.ceil(this.found.length / size) - 1);
    const start = Math.min(page, last) * size;
    this.body.replaceChildren(...this.found.slice(start, start + size).map((i) => this.row(this.rows[i])));
    this.heads.forEach((head, i) => {
      if (i === this.column) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const shown = Math.min(this.found.length - start, size);
    this.count.textContent = this.found.length
      ? `${start + 1}–${start + shown} of ${this.found.length} ${this.noun}` + this.of()
      : this.rows.length ? `None of ${this.rows.length} ${this.noun} match` : `No ${this.noun}`;
    this.where.textContent = `${page + 1} of ${last + 1}`;
    this.previous.disabled = page <= 0;
    this.next.disabled = page >= last;
    this.pager.hidden = this.found.length <= SIZES[0];
  }

  of() {
    return this.found.length < this.rows.length ? ` (${this.rows.length} in all)` : "";
  }

  row(data) {
    const cells = this.columns.map((column) => {
      const cell = make("td", { role: "cell", "data-label": column.title }, make("div", {}, ...[column.cell(data)].flat()));
      if (column.number) cell.className = "number";
      return cell;
    });
    const row = make("tr", { role: "row" }, ...cells);
    if (this.details) cells[0].firstChild.append(this.more(row, data));
    return row;
  }

  more(row, data) {
    const button = make("button", { type: "button", class: "more", "aria-expanded": "false" }, "Details");
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) return row.nextSibling.remove();
      const cell = make("td", { role: "cell", colspan: this.columns.length }, ...this.details(data));
      row.after(make("tr", { role: "row", class: "details" }, cell));
    });
    return button;
  }
}
