"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const read = id => JSON.parse(document.getElementById(id).textContent);

// What was chosen is kept in the fragment of the address, so that a link shows the same.
const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
const keep = (name, values) => {
  state.delete(name);
  for (const value of values) state.append(name, value);
  try {
    history.replaceState(null, "", `#${state}`);
  } catch (error) {
    if (error.name !== "SecurityError") throw error; // a frame without an address keeps nothing
  }
};
addEventListener("hashchange", () => { if (location.hash.includes("=")) location.reload(); });

// Dark or light: as the system is, until the button is pressed.
const root = document.documentElement;
const setTheme = theme => { root.style.colorScheme = theme; };
if (state.has("theme")) setTheme(state.get("theme"));
document.getElementById("theme").onclick = () => {
  const systemTheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const theme = (root.style.colorScheme || systemTheme) === "dark" ? "light" : "dark";
  setTheme(theme);
  keep("theme", [theme]);
};

// Rows: pointing at one mutes all lines but it, the pinned ones and MOSP.
const pinned = new Set(state.getAll("rows"));
let pointed = null;
const paintRows = () => {
  const chosen = new Set(pointed === null ? pinned : [...pinned, pointed]);
  for (const part of all(".part")) {
    part.classList.toggle("choosing", chosen.size > 0);
    const lit = new Set(chosen.size ? [...chosen, part.dataset.main] : []);
    for (const element of all("[data-row]", part)) {
      const row = element.dataset.row;
      element.classList.toggle("lit", lit.has(row) && (element.matches(".line") || chosen.has(row)));
      const button = element.matches("[role=button]") ? element : element.querySelector(".pin");
      button?.setAttribute("aria-pressed", pinned.has(row));
    }
    for (const output of all(".readout", part)) {
      const chart = output.matches(".time") ? "svg.wide.time" : "svg.wide:not(.time)";
      const texts = all(`${chart} .line`, part).filter(line => chosen.has(line.dataset.row));
      output.textContent = texts.map(line => line.dataset.text).join("; ") || "\u00a0";
    }
  }
};
const point = row => { if (row !== pointed) { pointed = row; paintRows(); } };
const rowOf = event => event.target.closest?.(".line, .pivot tr")?.dataset.row ?? null;
for (const name of ["pointerover", "focusin"]) document.addEventListener(name, event => point(rowOf(event)));
const pin = event => {
  const button = event.target.closest(".line[role=button], .pin");
  if (!button) return;
  const row = button.closest("[data-row]").dataset.row;
  if (!pinned.delete(row)) pinned.add(row);
  keep("rows", pinned);
  paintRows();
};
document.addEventListener("click", pin);
document.addEventListener("keydown", event => {
  if (event.target.matches?.(".line") && ["Enter", " "].includes(event.key)) { event.preventDefault(); pin(event); }
});
paintRows();

// Tables sort by the number or text of their cells.
for (const table of all("table.sortable")) {
  const heads = all("thead th", table), body = table.tBodies[0];
  const sort = (head, order) => {
    const column = heads.indexOf(head), sign = order === "ascending" ? 1 : -1;
    const key = row => row.cells[column].dataset.order;
    const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    body.append(...[...body.rows].sort((a, b) => sign * compare(key(a), key(b))));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
  };
  for (const head of heads) head.firstElementChild.onclick = () => {
    const order = head.ariaSort === "ascending" ? "descending" : "ascending";
    sort(head, order);
    keep(table.dataset.keep, [head.textContent, order]);
  };
  const [name, order] = state.getAll(table.dataset.keep);
  const sorted = heads.find(head => head.textContent === name);
  if (sorted) sort(sorted, order);
}

const fill = (select, names, fallback) => {
  const value = select.value || state.get(select.name);
  select.replaceChildren(...names.map(name => new Option(name)));
  select.value = names.includes(value) ? value : names.includes(fallback) ? fallback : names[0];
};

for (const part of all(".part")) {
  const find = selector => part.querySelector(selector);
  const radios = all(".budget input", part);
  const wanted = radios.find(radio => radio.value === state.get(radio.name));
  if (wanted) wanted.checked = true;
  const ratio = () => radios.find(radio => radio.checked)?.value;
  const atRatio = items => items.filter(item => item.ratio === "" || item.ratio === ratio());
  const updates = [() => {
    for (const block of all("[data-ratio]", part)) block.hidden = radios.length > 0 && block.dataset.ratio !== ratio();
  }];

  const filter = find(".filter");
  filter.value = state.get(filter.name) ?? "";
  updates.push(() => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of all(".rows tbody tr", part)) {
      const texts = [row.cells[0], row.cells[1], row.lastElementChild].map(cell => cell.textContent.toLowerCase());
      row.hidden = !words.every(word => texts.some(text => text.includes(word)));
    }
  });

  const compare = find(".compare");
  if (compare) {
    const views = read(compare.dataset.views), stage = find(".stage");
    const show = (side, tiles) => {
      const tile = tiles.find(tile => tile.label === find(`select.${side}`).value);
      Object.assign(find(`img.${side}`), { src: tile.image, alt: tile.label });
      find(`.under .${side}`).textContent = `${tile.label}  ${tile.scores}`;
    };
    const move = () => {
      for (const name of ["across", "down"]) part.style.setProperty(`--${name}`, `${find(`.${name}`).value}%`);
      part.style.setProperty("--zoom", find(".zoom").value);
    };
    const follow = event => {
      const frame = event.target.closest(".stage, .tile span")?.getBoundingClientRect();
      if (!frame || !(event.buttons || event.pointerType === "mouse")) return;
      find(".across").value = 100 * (event.clientX - frame.left) / frame.width;
      if (find(".zoom").value > 1) find(".down").value = 100 * (event.clientY - frame.top) / frame.height;
      move();
    };
    const makeTile = tile => {
      const button = document.createElement("button"), frame = document.createElement("span"), image = new Image();
      Object.assign(image, { src: tile.image, alt: "" });
      frame.append(image);
      button.append(frame, `${tile.label}\n${tile.scores}`);
      Object.assign(button, { type: "button", className: "tile", title: "show it on the right" });
      button.onclick = () => { find("select.right").value = tile.label; find("select.right").dispatchEvent(new Event("change", { bubbles: true })); };
      return button;
    };
    fill(find(".photo"), views.map(view => view.name));
    updates.push(() => {
      const view = views.find(view => view.name === find(".photo").value), tiles = atRatio(view.tiles);
      part.style.setProperty("--aspect", view.aspect);
      part.classList.toggle("whole", view.whole);
      const names = tiles.map(tile => tile.label);
      fill(find("select.left"), names, "degraded");
      fill(find("select.right"), names, names.includes(part.dataset.main) ? part.dataset.main : names.at(-1));
      for (const side of ["left", "right"]) show(side, tiles);
      find(".tiles").replaceChildren(...tiles.map(makeTile));
    });
    part.addEventListener("pointermove", follow);
    compare.addEventListener("input", move);
    move();
  }

  const memory = find(".memory");
  if (memory) {
    const records = read(memory.dataset.memory);
    updates.push(() => {
      const offered = atRatio(records);
      fill(find("select.row"), offered.map(record => record.label), part.dataset.main);
      const record = offered.find(record => record.label === find("select.row").value);
      if (!record) return;
      const peaks = [1, 2].map(side => Math.max(...record.steps.map(step => step[side])));
      find(".peaks").textContent = record.peaks;
      find(".steps th.row").textContent = record.label;
      find(".steps tbody").replaceChildren(...record.steps.map(([layer, ...sizes]) => {
        const line = document.createElement("tr"), head = document.createElement("th");
        head.scope = "row";
        head.textContent = layer;
        line.append(head);
        sizes.forEach((size, side) => {
          const cell = line.insertCell();
          if (size === null) return;
          cell.textContent = size.toFixed(1);
          cell.classList.toggle("best", size === peaks[side]);
          cell.style.setProperty("--share", `${100 * size / Math.max(...peaks)}%`);
        });
        return line;
      }));
    });
  }

  const update = () => { for (const step of updates) step(); };
  part.addEventListener("change", event => { if (event.target.name) keep(event.target.name, [event.target.value]); update(); });
  filter.addEventListener("input", update);
  update();
}
root.dataset.ready = "";
