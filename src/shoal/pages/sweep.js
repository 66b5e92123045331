// What moves on a page of many runs: curves of any experiments, parallel coordinates with brushes, tables that sort and
// filter. The page is complete without it. Everything is set through textContent and attributes: nothing from a run
// becomes markup. Experiments are numbered from the best on, and `kept` are those that brushes and words leave.
(() => {
  const {made, number, linear, logarithmic} = drawing;
  const {experiments, axes, metrics, curves, grids, ranking} = JSON.parse(document.getElementById("sweep").textContent);
  const kept = new Set(experiments.keys()), brushes = new Map(), views = [], texts = experiments.map(() => "");
  const COLOURED = 8, DASHES = [null, "7 3", "2 3", "9 3 2 3", null, "7 3", "2 3", "9 3 2 3"];
  const said = document.createElement("output");
  let wanted = [];

  const html = (name, attributes, ...content) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
    element.append(...content);
    return element;
  };
  const select = (label, names, chosen, changed) => {
    const list = html("select", {}, ...names.map((name, at) => html("option", {value: at}, name)));
    list.selectedIndex = chosen;
    list.addEventListener("change", () => changed(list.selectedIndex));
    return html("label", {}, `${label} `, list);
  };
  const toggle = (label, changed) => {
    const button = html("button", {type: "button", "aria-pressed": "false"}, label);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", on);
      changed(on);
    });
    return button;
  };
  const path = (points, attributes) => made("path", {fill: "none", "stroke-linejoin": "round", ...attributes,
    d: points.length === 1 ? `M${points[0]}h0` : points.length ? `M${points.join("L")}` : ""});
  const spaced = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const roomOf = (element, least, most) => Math.min(most, Math.max(least, element.clientWidth || least));

  // ---- what is kept

  const columns = [
    ...axes.map((axis, at) => ({...axis, value: (one) => one.at[at]})),
    ...metrics.map((metric, at) => {
      const values = experiments.flatMap((one) => (one.results[at] ? [one.results[at][0]] : []));
      const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
      const pad = high > low ? 0 : Math.abs(low) || 1;
      return {name: metric.name, low: low - pad, high: high + pad, log: false, marks: [], value: (one) => one.results[at]?.[0] ?? null};
    }),
  ];
  const share = (column, value) => column.log ? Math.log(value / column.low) / Math.log(column.high / column.low)
    : (value / 2 - column.low / 2) / (column.high / 2 - column.low / 2);
  const valueAt = (column, at) => column.log ? column.low * (column.high / column.low) ** at
    : column.low + at * (column.high - column.low);
  for (const column of columns)
    column.shares = experiments.map((one) => (column.value(one) === null ? null : share(column, column.value(one))));

  const holds = (e) => [...brushes].every(([at, [low, high]]) => {
    const where = columns[at].shares[e];
    return where !== null && where >= low && where <= high;
  }) && wanted.every((word) => texts[e].includes(word));

  const choose = () => {
    kept.clear();
    for (const e of experiments.keys()) if (holds(e)) kept.add(e);
    for (const element of document.querySelectorAll("[data-e]"))
      element.classList.toggle("off", !kept.has(Number(element.dataset.e)));
    said.textContent = kept.size === experiments.length ? "" : `${kept.size} of ${experiments.length} experiments are shown. `;
    for (const view of views) view();
  };

  // ---- curves

  const drawCurves = (place) => {
    const still = place.querySelector(".still"), output = html("output", {"aria-live": "polite"});
    const svg = made("svg", {role: "img", tabindex: 0, "font-size": 13, "font-family": "system-ui, sans-serif"});
    const keys = html("ul", {class: "keys"});
    const named = curves.findIndex((curve) => curve.name === metrics[ranking]?.name);
    let curve = curves[Math.max(0, named)], band = 0, each = false, log = false, at = null;
    const known = new Map();

    // Mean, ends of the band and number of seeds at each step of an experiment, made when first asked for.
    const summary = (e) => {
      const kind = `${curve.name} ${e} ${band}`;
      if (!known.has(kind)) known.set(kind, curve.bundles[e] && summed(curve.bundles[e]));
      return known.get(kind);
    };
    const summed = ([grid, runs]) => grids[grid].flatMap((step, index) => {
      const values = runs.flatMap((run) => (Number.isFinite(run[index]) ? [run[index]] : [])), n = values.length;
      if (!n) return [];
      const mean = values.reduce((sum, value) => sum + value / n, 0);
      const scatter = n > 1 ? Math.hypot(...values.map((value) => value - mean)) / Math.sqrt(n - 1) : 0;
      const ends = band === 0 ? [Math.min(...values), Math.max(...values)] : [mean - scatter, mean + scatter];
      return [{step, mean, low: ends[0], high: ends[1], n}];
    });
    const runLines = (e) => curve.bundles[e] ? curve.bundles[e][1].map((run, seed) => ({e, seed,
      points: grids[curve.bundles[e][0]].flatMap((step, index) => (usable(run[index]) ? [[step, run[index]]] : []))})) : [];
    const meanLine = (e) => ({e, points: (summary(e) ?? []).filter((point) => usable(point.mean)).map((point) => [point.step, point.mean])});
    const usable = (value) => Number.isFinite(value) && (!log || value > 0);

    let lines = [], px, py, width, height;
    const scales = () => {
      const top = [...kept].slice(0, COLOURED);
      const values = lines.flatMap((line) => line.points.map((point) => point[1]));
      if (!each && band < 2) for (const e of top) for (const point of summary(e) ?? []) values.push(...[point.low, point.high].filter(usable));
      const steps = lines.flatMap((line) => [line.points[0]?.[0], line.points[line.points.length - 1]?.[0]]).filter(Number.isFinite);
      if (!values.length) return null;
      let [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
      if (log) [low, high] = low < high ? [low, high] : [low / 2, high * 2];
      else if (low === high) [low, high] = [low - (Math.abs(low) / 2 || 0.5), high + (Math.abs(high) / 2 || 0.5)];
      const [first, last] = [Math.min(...steps), Math.max(...steps)], span = last - first || 1;
      px = (step) => 62 + ((step - first) / span) * (width - 84);
      py = (value) => height - 34 - (log ? Math.log(value / low) / Math.log(high / low) : (value / 2 - low / 2) / (high / 2 - low / 2)) * (height - 46);
      return {x: [first, last], y: [low, high]};
    };
    const drawFrame = ({x, y}) => {
      const parts = [];
      const rule = (x1, y1, x2, y2) => parts.push(made("line", {x1, y1, x2, y2, stroke: "currentColor", "stroke-opacity": 0.22}));
      const text = (content, left, top, anchor) => parts.push(made("text", {x: left, y: top, "text-anchor": anchor, fill: "currentColor", "fill-opacity": 0.8}, content));
      for (const value of (log ? logarithmic : linear)(y[0], y[1], 5)) {
        rule(62, py(value), width - 22, py(value));
        text(number(value), 56, py(value) + 4, "end");
      }
      for (const value of linear(x[0], x[1], width < 500 ? 4 : 8)) text(number(value), px(value), height - 18, "middle");
      rule(62, height - 34, width - 22, height - 34);
      text("step", width - 22, height - 3, "end");
      return parts;
    };
    const drawLine = (line, rank) => {
      const points = line.points.map(([step, value]) => spaced(px(step), py(value)));
      const coloured = rank >= 0 && rank < COLOURED;
      return path(points, {class: coloured ? `line c${rank}` : "faint", "stroke-dasharray": coloured ? DASHES[rank] : null,
        "stroke-width": points.length === 1 ? 6 : coloured ? (each ? 1.2 : 2) : 1, "stroke-linecap": points.length === 1 ? "round" : null});
    };
    const drawBand = (e, rank) => {
      const points = (summary(e) ?? []).filter((point) => usable(point.low) && usable(point.high));
      const upper = points.map((point) => spaced(px(point.step), py(point.high)));
      const lower = points.map((point) => spaced(px(point.step), py(point.low))).reverse();
      return path([...upper, ...lower], {class: `band c${rank}`, "fill-opacity": 0.15, fill: null});
    };
    const drawEnds = (order, rank) => {
      const ends = order.slice(0, COLOURED).flatMap((e) => {
        const last = meanLine(e).points.pop();
        return last ? [[py(last[1]), e]] : [];
      }).sort((a, b) => a[0] - b[0]);
      let last = -Infinity;
      return ends.map(([top, e]) => {
        last = Math.min(Math.max(top, last + 12), height - 20);
        return made("text", {class: `rank c${rank.get(e)}`, x: width - 20, y: last + 4}, String(e + 1));
      });
    };
    const draw = () => {
      [width, height] = [roomOf(place, 300, 1000), 340];
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      const order = [...kept].filter((e) => curve.bundles[e]);
      lines = order.flatMap((e) => (each ? runLines(e) : [meanLine(e)])).filter((line) => line.points.length);
      const ends = scales();
      at = null;
      svg.replaceChildren();
      keys.replaceChildren();
      output.textContent = lines.length ? "Point at a line, or use the arrow keys, to see which it is." : "Nothing to draw.";
      svg.setAttribute("aria-label", `${curve.name} of ${order.length} experiments`);
      if (!ends) return;
      const rank = new Map(order.map((e, index) => [e, index]));
      svg.append(...drawFrame(ends));
      for (const line of [...lines].reverse().filter((one) => rank.get(one.e) >= COLOURED)) svg.append(drawLine(line, -1));
      const top = order.slice(0, COLOURED).reverse();
      if (!each && band < 2) svg.append(...top.map((e) => drawBand(e, rank.get(e))));
      for (const line of [...lines].reverse().filter((one) => rank.get(one.e) < COLOURED)) svg.append(drawLine(line, rank.get(line.e)));
      svg.append(...drawEnds(order, rank), made("path", {class: "hot", fill: "none"}), made("circle", {r: 4, class: "hot", fill: "currentColor", visibility: "hidden"}));
      keys.append(...order.slice(0, COLOURED).map((e, index) => {
        const line = made("svg", {viewBox: "0 0 26 14", width: 26, height: 14, "aria-hidden": "true"});
        line.append(path(["1 7", "25 7"], {class: `line c${index}`, "stroke-width": 2, "stroke-dasharray": DASHES[index]}));
        return html("li", {}, line, ` ${e + 1}. ${experiments[e].name}`);
      }));
    };
    const point = (index, where) => {
      const line = lines[index], spot = line.points[Math.min(where, line.points.length - 1)], one = experiments[line.e];
      at = {index, where};
      svg.querySelector("path.hot").setAttribute("d", `M${line.points.map(([step, value]) => spaced(px(step), py(value))).join("L")}`);
      const dot = svg.querySelector("circle.hot");
      for (const [key, value] of Object.entries({cx: px(spot[0]), cy: py(spot[1]), visibility: "visible"})) dot.setAttribute(key, value);
      const found = each ? null : summary(line.e).find((candidate) => candidate.step === spot[0]);
      const more = each ? `, seed ${one.seeds[line.seed]}` : "";
      const ends = found && found.n > 1 && band < 2 ? `, ${number(found.low)} to ${number(found.high)}` : "";
      output.textContent = `${line.e + 1}. ${one.name}${more}: ${curve.name} ${number(spot[1])} at step ${number(spot[0])}${ends}${found ? ` (n=${found.n})` : ""}`;
    };
    const nearest = (event) => {
      const box = svg.getBoundingClientRect(), scale = width / box.width;
      const [left, top] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let best = [Infinity];
      for (const [index, line] of lines.entries()) {
        const where = line.points.reduce((near, spot, place) => (Math.abs(px(spot[0]) - left) < Math.abs(px(line.points[near][0]) - left) ? place : near), 0);
        const away = Math.hypot(px(line.points[where][0]) - left, py(line.points[where][1]) - top);
        if (away < best[0]) best = [away, index, where];
      }
      return best;
    };
    svg.addEventListener("pointermove", (event) => {
      const [away, index, where] = nearest(event);
      if (away < 60) point(index, where);
    });
    svg.addEventListener("keydown", (event) => {
      const [across, down] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key] ?? [];
      if (across === undefined || !lines.length) return;
      event.preventDefault();
      const index = at ? (at.index + down + lines.length) % lines.length : 0;
      const last = lines[index].points.length - 1;
      point(index, at ? Math.min(last, Math.max(0, Math.min(at.where, last) + across)) : last);
    });
    const bar = html("div", {class: "controls"},
      select("metric", curves.map((one) => one.name), Math.max(0, named), (chosen) => { curve = curves[chosen]; draw(); }),
      select("band", ["least to largest", "± deviation", "none"], 0, (chosen) => { band = chosen; draw(); }),
      toggle("every run", (on) => { each = on; draw(); }),
      toggle("log axis", (on) => { log = on; draw(); }));
    still.replaceWith(html("figure", {class: "curves"}, bar, svg, output, keys));
    views.push(draw);
    window.addEventListener("resize", draw);
  };

  // ---- parallel coordinates

  const drawParallel = (place) => {
    const TOP = 40, HIGH = 250, LOW = TOP + HIGH;
    const svg = made("svg", {"font-size": 12, "font-family": "system-ui, sans-serif", role: "group", "aria-label": "parallel coordinates"});
    const lines = made("g", {class: "lines"});
    place.append(svg);
    const height = (where) => LOW - where * HIGH;
    let left = [], shows = [];
    const shade = (e) => `q${4 - Math.min(4, Math.floor((5 * e) / experiments.length))}`;
    const stops = (column) => {
      const found = [...new Set(column.shares.filter((one) => one !== null))].sort((a, b) => a - b);
      return [0, ...found.slice(1).map((one, at) => (one + found[at]) / 2), 1];
    };
    const drawLines = () => {
      const order = [...experiments.keys()].reverse();
      order.sort((a, b) => kept.has(a) - kept.has(b));
      lines.replaceChildren(...order.map((e) => {
        const pieces = columns.map((column, at) => (column.shares[e] === null ? null : spaced(left[at], height(column.shares[e]))));
        let outline = "";
        for (const [at, piece] of pieces.entries()) if (piece) outline += `${at && pieces[at - 1] ? "L" : "M"}${piece}`;
        const line = made("path", {d: outline, fill: "none", class: `${shade(e)}${kept.has(e) ? "" : " off"}`});
        line.append(made("title", {}, `${e + 1}. ${experiments[e].name}`));
        return line;
      }));
    };
    const drawColumn = (column, at) => {
      const x = left[at], group = made("g", {class: "column"});
      const marks = column.marks.length ? column.marks.map(([value, name]) => [share(column, value), name])
        : (column.log ? logarithmic : linear)(column.low, column.high, 5).map((value) => [share(column, value), number(value)]);
      const title = column.name.length > 18 ? `${column.name.slice(0, 17)}…` : column.name;
      group.append(made("line", {x1: x, x2: x, y1: TOP, y2: LOW, stroke: "currentColor"}),
        made("text", {x, y: 16, "text-anchor": "middle", "font-weight": 600}, title));
      for (const [where, name] of marks)
        group.append(made("text", {x: x - 6, y: height(where) + 4, "text-anchor": "end"}, name.length > 12 ? `${name.slice(0, 11)}…` : name));
      const area = made("rect", {class: "kept", x: x - 9, width: 18, y: TOP, height: 0});
      const rail = made("rect", {class: "rail", x: x - 18, width: 36, y: TOP - 8, height: HIGH + 16});
      const ends = ["lower", "upper"].map((which) => made("rect", {class: "end", x: x - 10, width: 20, height: 7, rx: 2, tabindex: 0, role: "slider",
        "aria-orientation": "vertical", "aria-label": `${column.name}, ${which} end`, "aria-valuemin": column.low, "aria-valuemax": column.high}));
      const show = () => {
        const range = brushes.get(at) ?? [0, 1];
        area.setAttribute("y", height(range[1]));
        area.setAttribute("height", brushes.has(at) ? (range[1] - range[0]) * HIGH : 0);
        for (const [index, end] of ends.entries()) {
          end.setAttribute("y", height(range[index]) - (index ? 7 : 0));
          end.setAttribute("aria-valuenow", valueAt(column, range[index]));
          end.setAttribute("aria-valuetext", number(valueAt(column, range[index])));
        }
      };
      const brush = (low, high) => {
        if (low <= 0 && high >= 1) brushes.delete(at); else brushes.set(at, [Math.max(0, low), Math.min(1, high)]);
        choose();
      };
      let pressed = null;
      const shareAt = (event) => {
        const box = svg.getBoundingClientRect();
        return Math.min(1, Math.max(0, (LOW - ((event.clientY - box.top) / box.height) * (LOW + 24)) / HIGH));
      };
      rail.addEventListener("pointerdown", (event) => {
        pressed = shareAt(event);
        if (event.isTrusted) rail.setPointerCapture(event.pointerId);
      });
      rail.addEventListener("pointermove", (event) => {
        if (pressed !== null) brush(Math.min(pressed, shareAt(event)), Math.max(pressed, shareAt(event)));
      });
      rail.addEventListener("pointerup", (event) => {
        if (pressed !== null && Math.abs(shareAt(event) - pressed) < 0.02) brush(0, 1);
        pressed = null;
      });
      rail.addEventListener("pointercancel", () => { pressed = null; });
      for (const [index, end] of ends.entries()) end.addEventListener("keydown", (event) => {
        const range = [...(brushes.get(at) ?? [0, 1])], places = stops(column), here = range[index];
        const next = {ArrowUp: places.find((one) => one > here + 1e-9) ?? 1, ArrowDown: [...places].reverse().find((one) => one < here - 1e-9) ?? 0,
          Home: 0, End: 1, Escape: index}[event.key];
        if (next === undefined) return;
        event.preventDefault();
        range[index] = next;
        brush(Math.min(...range), Math.max(...range));
      });
      shows.push(show);
      group.append(area, rail, ...ends);
      return group;
    };
    const update = () => {
      drawLines();
      for (const show of shows) show();
    };
    const layout = () => {
      const width = Math.max(place.parentElement.clientWidth, 96 + 100 * columns.length);
      for (const [key, value] of Object.entries({viewBox: `0 0 ${width} ${LOW + 24}`, width, height: LOW + 24})) svg.setAttribute(key, value);
      left = columns.map((_, at) => 88 + (columns.length > 1 ? (at / (columns.length - 1)) * (width - 148) : 0));
      shows = [];
      svg.replaceChildren(lines, ...columns.map(drawColumn));
      update();
    };
    layout();
    views.push(update);
    window.addEventListener("resize", layout);
  };

  // ---- tables

  const sortable = (table) => {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const order = (at, falling) => {
      const value = (row) => row.cells[at].dataset.v ?? (row.cells[at].classList.contains("n") ? "" : row.cells[at].textContent);
      const rows = [...body.rows].map((row) => [value(row), row]);
      const numbers = rows.every(([one]) => one === "" || Number.isFinite(Number(one)));
      rows.sort(([a], [b]) => a === "" || b === "" ? (a === "") - (b === "")
        : (numbers ? a - b : a.localeCompare(b, "en", {numeric: true})) * (falling ? -1 : 1));
      body.append(...rows.map(([, row]) => row));
      for (const [index, head] of heads.entries()) {
        head.setAttribute("aria-sort", index === at ? (falling ? "descending" : "ascending") : "none");
        head.querySelector("span").textContent = index === at ? (falling ? " ▼" : " ▲") : "";
      }
    };
    for (const [at, head] of heads.entries()) {
      const button = html("button", {type: "button"}, head.textContent, html("span", {"aria-hidden": "true"}));
      button.addEventListener("click", () => order(at, head.getAttribute("aria-sort") === "ascending"));
      head.replaceChildren(button);
    }
    for (const row of body.rows) texts[Number(row.dataset.e)] += `${row.textContent.toLowerCase()}\n`;
  };

  const filter = (place) => {
    const field = html("input", {type: "search", placeholder: "lr=0.1 failed", size: 24});
    const clear = html("button", {type: "button"}, "show all");
    field.addEventListener("input", () => {
      wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      choose();
    });
    clear.addEventListener("click", () => {
      field.value = "";
      wanted = [];
      brushes.clear();
      choose();
    });
    place.className = "controls";
    place.append(html("label", {}, "only with ", field), clear, said);
  };

  const byMetric = (place) => {
    const parts = [...place.children];
    if (parts.length < 2) return;
    const show = (chosen) => { for (const [at, part] of parts.entries()) part.hidden = at !== chosen; };
    place.before(html("div", {class: "controls"}, select("metric", parts.map((part) => part.dataset.metric), 0, show)));
    for (const part of parts) part.querySelector("h3").hidden = true;
    show(0);
  };

  for (const table of document.querySelectorAll("table.sortable")) sortable(table);
  for (const [e, one] of experiments.entries()) texts[e] += one.name.toLowerCase();
  filter(document.getElementById("filter"));
  for (const place of document.querySelectorAll(".by-metric")) byMetric(place);
  const room = document.getElementById("curves"), parallel = document.getElementById("parallel");
  if (room) drawCurves(room);
  if (parallel) drawParallel(parallel);
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;
  choose();
  document.body.dataset.ready = Math.round(performance.now());
})();
