"use strict";
(() => {
  // Tables: a click on a column's name sorts by it, a second one the other way round.
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.order ?? cell.textContent.trim();
    if (text === "" || text === "–") return null;
    const number = Number(text.replaceAll(",", ""));
    return Number.isNaN(number) ? text : number;
  };
  const compare = (one, two) =>
    typeof one === "number" && typeof two === "number"
      ? one - two
      : String(one).localeCompare(String(two), "en", { numeric: true });
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    // What is not known comes last, whatever the direction.
    rows.sort(([one], [two]) =>
      one === null || two === null
        ? (one === null) - (two === null)
        : (down ? -1 : 1) * compare(one, two));
    body.append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sort(table, column));
      head.replaceChildren(button);
    });
  }

  // Arrays: one of them enlarged, with zoom and the level under the pointer.
  const viewer = (box) => {
    const view = box.querySelector(".view");
    const pick = box.querySelector(".pick");
    const readout = box.querySelector(".readout");
    const items = [...box.querySelectorAll(".thumbs li")];
    const colours = new Map(box.dataset.colours.split(" ").map((text, level) => [text, level]));
    const unused = colours.size - 1;
    const state = { item: null, x: 0, y: 0, zoom: 1, cols: 1, rows: 1, pixels: {} };

    const frame = () => {
      const width = state.cols / state.zoom, height = state.rows / state.zoom;
      state.x = Math.min(Math.max(state.x, 0), state.cols - width);
      state.y = Math.min(Math.max(state.y, 0), state.rows - height);
      view.setAttribute("viewBox", `${state.x} ${state.y} ${width} ${height}`);
      view.classList.toggle("near", state.zoom > 1);
    };
    const zoom = (factor, x = state.x + state.cols / state.zoom / 2, y = state.y + state.rows / state.zoom / 2) => {
      const next = Math.min(Math.max(state.zoom * factor, 1), 32);
      state.x = x - (x - state.x) * state.zoom / next;
      state.y = y - (y - state.y) * state.zoom / next;
      state.zoom = next;
      frame();
    };
    const whole = () => { state.zoom = 1; frame(); };
    const move = (dx, dy) => { state.x += dx; state.y += dy; frame(); };

    const pixels = (image) => {
      if (!image) return null;
      const canvas = document.createElement("canvas");
      canvas.width = state.cols;
      canvas.height = state.rows;
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      const picture = new Image();
      picture.addEventListener("load", () => pen.drawImage(picture, 0, 0, state.cols, state.rows));
      picture.src = image.getAttribute("href");
      return pen;
    };
    const show = (item) => {
      const svg = item.querySelector("svg");
      const size = svg.viewBox.baseVal;
      Object.assign(state, { item, cols: size.width, rows: size.height, zoom: 1, x: 0, y: 0 });
      view.replaceChildren(...[...svg.cloneNode(true).childNodes]);
      state.pixels = { levels: pixels(svg.querySelector(".levels")), rewritten: pixels(svg.querySelector(".rewritten")) };
      pick.value = item.dataset.array;
      items.forEach((one) => one.querySelector("button").setAttribute("aria-pressed", one === item));
      readout.textContent = svg.getAttribute("aria-label");
      frame();
    };

    const place = (event) => {
      const at = view.createSVGPoint();
      at.x = event.clientX;
      at.y = event.clientY;
      return at.matrixTransform(view.getScreenCTM().inverse());
    };
    const tell = (x, y) => {
      const col = Math.floor(x), row = Math.floor(y);
      if (col < 0 || row < 0 || col >= state.cols || row >= state.rows) return;
      const tile = [...view.querySelectorAll("rect.tile")].find((one) => {
        const [left, top, width, height] = ["x", "y", "width", "height"].map((name) => Number(one.getAttribute(name)));
        return left <= col && col < left + width && top <= row && row < top + height;
      });
      const parts = [`array ${state.item.dataset.array}, wordline ${row}, bitline ${col}`];
      if (state.pixels.levels) {
        const [red, green, blue] = state.pixels.levels.getImageData(col, row, 1, 1).data;
        const hex = [red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("");
        const level = colours.get(`#${hex}`);
        parts.push(level === unused || level === undefined ? "holds no weight" : `level ${level}`);
      }
      if (tile) parts.push(tile.dataset.layer);
      if (state.pixels.rewritten?.getImageData(col, row, 1, 1).data[3]) parts.push("rewritten");
      readout.textContent = parts.join(" · ");
    };
    const middle = () => tell(state.x + state.cols / state.zoom / 2, state.y + state.rows / state.zoom / 2);

    for (const item of items) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...item.childNodes);
      button.addEventListener("click", () => show(item));
      item.append(button);
      const option = document.createElement("option");
      option.value = option.textContent = item.dataset.array;
      pick.append(option);
    }
    pick.addEventListener("change", () => show(items[pick.selectedIndex]));
    box.querySelector(".in").addEventListener("click", () => zoom(2));
    box.querySelector(".out").addEventListener("click", () => zoom(0.5));
    box.querySelector(".whole").addEventListener("click", whole);
    const toggle = (name) => {
      const check = box.querySelector(`.${name}`);
      check?.addEventListener("change", () => box.classList.toggle(`no-${name}`, !check.checked));
    };
    toggle("names");
    toggle("rewrites");

    const keys = {
      "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5), 0: whole,
      ArrowLeft: () => move(-state.cols / state.zoom / 8, 0), ArrowRight: () => move(state.cols / state.zoom / 8, 0),
      ArrowUp: () => move(0, -state.rows / state.zoom / 8), ArrowDown: () => move(0, state.rows / state.zoom / 8),
    };
    view.addEventListener("keydown", (event) => {
      const act = keys[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      readout.setAttribute("aria-live", "polite");
      act();
      middle();
    });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const at = place(event);
      zoom(Math.exp(-event.deltaY / 300), at.x, at.y);
    }, { passive: false });

    const fingers = new Map();
    const apart = () => {
      const [one, two] = [...fingers.values()];
      return Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY);
    };
    view.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, event);
      if (state.zoom > 1 || fingers.size > 1) view.setPointerCapture(event.pointerId);
      readout.removeAttribute("aria-live");
      const at = place(event);
      tell(at.x, at.y);
    });
    view.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      const at = place(event);
      if (!before) { tell(at.x, at.y); return; }
      if (fingers.size === 2) {
        const was = apart();
        fingers.set(event.pointerId, event);
        zoom(apart() / was, at.x, at.y);
      } else {
        const from = place(before);
        fingers.set(event.pointerId, event);
        if (state.zoom > 1) move(from.x - at.x, from.y - at.y);
      }
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      view.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }
    box.classList.add("ready");
    box.querySelector(".viewer").hidden = false;
    show(items[0]);
  };
  document.querySelectorAll(".maps").forEach((box) => box.querySelector(".thumbs li") && viewer(box));

  // A wide network begins where its input is.
  for (const box of document.querySelectorAll(".graph")) {
    const first = box.querySelector(".node rect");
    if (first) box.scrollLeft = first.x.baseVal.value + first.width.baseVal.value / 2 - box.clientWidth / 2;
  }

  // Printed pages show what is folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
})();
