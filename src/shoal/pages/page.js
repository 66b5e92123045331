// Zoom, readout and logarithmic axes for the charts of a page; the page is complete without it.
// Everything is set through textContent and attributes: nothing from a run becomes markup.
(() => {
  const {made, number, linear, logarithmic} = drawing;
  const WIDTH = 480, HEIGHT = 250, LEFT = 66, RIGHT = 12, TOP = 10, BOTTOM = 38;

  const live = (figure) => {
    const series = JSON.parse(figure.dataset.chart);
    const svg = figure.querySelector("svg[role=img]"), output = figure.querySelector("output");
    const button = figure.querySelector("button.log"), said = output.textContent;
    const frame = svg.querySelector(".frame"), lines = svg.querySelector(".lines");
    const xTitle = [...frame.querySelectorAll("text")].pop().textContent;
    const steps = [...new Set(series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
    const whole = steps.length > 1 ? [steps[0], steps[steps.length - 1]] : [steps[0] - 0.5, steps[0] + 0.5];
    const selection = svg.appendChild(made("rect", {class: "selection", y: TOP, height: HEIGHT - TOP - BOTTOM, width: 0}));
    const cursor = svg.appendChild(made("line", {class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden"}));
    let shown = whole, log = false, y = [0, 1], pressed = null;

    const px = (x) => LEFT + ((x - shown[0]) / (shown[1] - shown[0])) * (WIDTH - LEFT - RIGHT);
    const py = (value) => {
      const share = log ? Math.log(value / y[0]) / Math.log(y[1] / y[0]) : (value - y[0]) / (y[1] - y[0]);
      return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
    };
    const stepAt = (event) => {
      const box = svg.getBoundingClientRect();
      const left = ((event.clientX - box.left) / box.width) * WIDTH;
      const share = Math.min(1, Math.max(0, (left - LEFT) / (WIDTH - LEFT - RIGHT)));
      return shown[0] + share * (shown[1] - shown[0]);
    };
    const drawable = (value) => value !== null && (!log || value > 0);

    // The points in view, and the one before and after, so that lines run to the edges.
    const inView = (points) => {
      const first = points.findIndex((point) => point[0] >= shown[0]);
      let last = points.length - 1;
      while (last >= 0 && points[last][0] > shown[1]) last--;
      return points.slice(Math.max(0, first < 0 ? points.length : first - 1), last + 2);
    };

    const ranged = () => {
      const values = series.flatMap((one) => one.points
        .filter((point) => point[0] >= shown[0] && point[0] <= shown[1] && drawable(point[1])).map((point) => point[1]));
      if (!values.length) return;
      const low = Math.min(...values), high = Math.max(...values);
      if (log) { y = low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.04, high * (high / low) ** 0.04]; return; }
      const room = low === high ? Math.abs(low) * 0.5 || 0.5 : (high - low) * 0.04;
      y = [low - room, high + room];
    };

    const drawFrame = () => {
      const bottom = HEIGHT - BOTTOM, right = WIDTH - RIGHT, parts = [];
      const line = (x1, y1, x2, y2) =>
        parts.push(made("line", {x1, y1, x2, y2, stroke: "currentColor", "stroke-opacity": 0.22}));
      const text = (content, x, at, anchor) => parts.push(made("text",
        {x, y: at, "text-anchor": anchor, fill: "currentColor", "fill-opacity": 0.8}, content));
      for (const value of (log ? logarithmic : linear)(y[0], y[1], 5)) {
        line(LEFT, py(value), right, py(value));
        text(number(value), LEFT - 6, py(value) + 4, "end");
      }
      for (const value of linear(shown[0], shown[1], 6)) {
        line(px(value), bottom, px(value), bottom + 4);
        text(number(value), px(value), bottom + 17, "middle");
      }
      line(LEFT, bottom, right, bottom);
      text(xTitle, right, HEIGHT - 5, "end");
      frame.replaceChildren(...parts);
    };

    const drawLines = () => {
      lines.replaceChildren(...series.flatMap((one) => {
        if (one.points.length === 1) {
          const [x, value] = one.points[0];
          if (!drawable(value) || x < shown[0] || x > shown[1]) return [];
          const r = one.kind.endsWith("-average") ? 7 : 5;
          return [made("path", {class: `mark ${one.kind}`, d: `M${px(x)} ${py(value) - r}l${r} ${r}l-${r} ${r}l-${r} -${r}z`})];
        }
        let outline = "", joined = false;
        for (const [x, value] of inView(one.points)) {
          if (drawable(value)) outline += `${joined ? "L" : "M"}${px(x).toFixed(1)} ${py(value).toFixed(1)}${joined ? "" : "h0"}`;
          joined = drawable(value);
        }
        return [made("path", {class: `line ${one.kind}`, d: outline, fill: "none", "stroke-width": 2, "clip-path": `url(#${clip})`,
          "stroke-dasharray": one.dashes, "stroke-linejoin": "round", "stroke-linecap": one.dashes ? "butt" : "round"})];
      }));
    };
    const draw = () => { ranged(); drawFrame(); drawLines(); };

    const read = (at) => {
      const step = steps.reduce((near, one) => (Math.abs(one - at) < Math.abs(near - at) ? one : near), steps[0]);
      const values = series.flatMap((one) => {
        const point = one.points.find((candidate) => candidate[0] === step);
        return point ? [`${series.length > 1 ? one.name : ""} ${point[1] === null ? "not finite" : number(point[1])}`.trim()] : [];
      });
      cursor.setAttribute("x1", px(step));
      cursor.setAttribute("x2", px(step));
      cursor.setAttribute("visibility", step < shown[0] || step > shown[1] ? "hidden" : "visible");
      output.textContent = `${xTitle} ${number(step)}: ${values.join(", ")}`;
    };

    const clip = `clip-${Math.random().toString(36).slice(2)}`;
    const area = made("clipPath", {id: clip});
    area.append(made("rect", {x: LEFT, y: TOP - 4, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM + 8}));
    svg.append(area);

    svg.addEventListener("pointerdown", (event) => {
      pressed = stepAt(event);
      if (event.pointerId !== undefined && event.isTrusted) svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      const at = stepAt(event);
      read(at);
      if (pressed === null) return;
      const [low, high] = [Math.min(pressed, at), Math.max(pressed, at)];
      selection.setAttribute("x", px(low));
      selection.setAttribute("width", px(high) - px(low));
    });
    const release = (event) => {
      if (pressed === null) return;
      const at = stepAt(event), [low, high] = [Math.min(pressed, at), Math.max(pressed, at)];
      pressed = null;
      selection.setAttribute("width", 0);
      if (px(high) - px(low) < 8 || event.type === "pointercancel") return;
      shown = [low, high];
      draw();
    };
    svg.addEventListener("pointerup", release);
    svg.addEventListener("pointercancel", release);
    svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); output.textContent = said; });
    svg.addEventListener("dblclick", () => { shown = whole; draw(); });
    if (button) {
      button.hidden = false;
      button.addEventListener("click", () => { log = !log; button.setAttribute("aria-pressed", log); draw(); });
    }
    figure.classList.add("live");
  };

  for (const figure of document.querySelectorAll("figure[data-chart]")) live(figure);
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;
})();
