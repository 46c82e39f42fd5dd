// The field above a map: type to search, choose with the arrow keys or by a click (the pattern "combobox" of ARIA).

const MOST_OPTIONS = 250;

class Picker {
  constructor(root, number, page) {
    Object.assign(this, { page, number, options: [], at: -1 });
    this.input = root.querySelector("input");
    this.list = root.querySelector("ul");
    this.list.id = `choices-${number}`;
    this.list.setAttribute("aria-label", "Genes and layers");
    this.input.setAttribute("aria-controls", this.list.id);
    this.input.setAttribute("aria-label", number ? "Gene or layer of the second map" : "Gene or layer of the map");
    this.input.addEventListener("focus", () => this.input.select());
    this.input.addEventListener("click", () => {
      if (!this.list.hidden) return;
      this.open("");
      setTimeout(() => this.input.select()); // once the browser has put the caret where the click was
    });
    this.input.addEventListener("input", () => this.open(this.input.value));
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("keydown", (event) => this.key(event));
  }

  show(values) {
    this.values = values;
    this.input.value = values.label;
  }

  open(text) {
    const wanted = text.trim().toLowerCase();
    const all = [...this.page.slide.genes, ...this.page.slide.layers];
    const rank = (v) => {
      const name = v.label.toLowerCase();
      return name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(wanted) ? 2 : v.id.toLowerCase().includes(wanted) ? 3 : 4;
    };
    this.options = all.map((values) => [rank(values), values]).filter(([r]) => r < 4)
      .sort((a, b) => a[0] - b[0]).slice(0, MOST_OPTIONS).map(([, values]) => values);
    this.list.replaceChildren(...this.options.map((values, i) => this.item(values, i)));
    if (!this.options.length) {
      const none = document.createElement("li");
      none.className = "none";
      none.textContent = "No gene or layer of this page is called so";
      this.list.append(none);
    }
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.go(wanted ? 0 : this.options.indexOf(this.values));
  }

  item(values, i) {
    const item = document.createElement("li"), name = document.createElement("span"), note = document.createElement("small");
    item.id = `${this.list.id}-${i}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(values === this.values));
    name.textContent = values.label;
    note.textContent = values.kind === "layer" ? "layer" : values.id === values.name ? "" : values.id;
    item.append(name, note);
    item.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    item.addEventListener("click", () => this.choose(values));
    return item;
  }

  go(i) {
    this.list.children[this.at]?.classList.remove("at");
    this.at = this.options.length ? Math.max(0, Math.min(this.options.length - 1, i)) : -1;
    const item = this.at < 0 ? null : this.list.children[this.at];
    item?.classList.add("at");
    item?.scrollIntoView({ block: "nearest" });
    if (item) this.input.setAttribute("aria-activedescendant", item.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (step) {
      if (this.list.hidden) this.open("");
      else this.go(this.at + step);
    } else if (event.key === "Enter" && !this.list.hidden && this.at >= 0) this.choose(this.options[this.at]);
    else if (event.key === "Escape" && !this.list.hidden) this.close();
    else return;
    event.preventDefault();
  }

  choose(values) {
    this.page.choose(this.number, values);
    this.close();
    this.input.select();
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.input.value = this.values.label;
  }
}
