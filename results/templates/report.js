// Behaviour of the report page (report.html.j2): sorting, filtering, another baseline, the scatter plot.
// Every figure comes from the data that Python computed; nothing is estimated here.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const state = { metric: Object.keys(data.metrics)[0], baseline: data.baseline, filter: "" };
  const MARKS = { l: "▼", m: "▲", f: "✗" };

  const format = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
  const range = (packed) => (packed[3] > 1 ? `[${format(packed[1])}, ${format(packed[2])}]` : ""); // one sample has none
  const verdict = (code, metric) =>
    ({ l: metric.less, m: metric.more, f: "failed", t: "too few samples", n: "no difference shown" })[code];

  function tint(ratio) {
    const far = Math.max(ratio, 1 / ratio);
    const step = [1.02, 1.1, 1.3, 1.7].filter((limit) => far >= limit).length;
    return ratio > 1 ? step : -step;
  }

  // ---- The ratio tables ----

  function fillCell(cell, packed, code, metric) {
    cell.title = verdict(code, metric);
    cell.dataset.v = packed ? packed[0] : "";
    cell.className = `c${packed ? tint(packed[0]) : 0}${MARKS[code] ? "" : " unsure"}`;
    one("b", cell).textContent = packed ? format(packed[0]) : code === "f" ? "✗ failed" : "-";
    one("i", cell).textContent = packed ? MARKS[code] || "" : "";
    one("small", cell).textContent = packed ? range(packed) : "";
  }

  function rebase() {
    for (const table of all("table.heat")) {
      const metric = data.metrics[table.dataset.metric];
      for (const line of all("tbody tr", table)) {
        const cells = metric.ratios[state.baseline][data.rows.indexOf(line.dataset.row)];
        all("td", line).forEach((cell, index) => fillCell(cell, ...cells[index], metric));
      }
      const sorted = one("th[aria-sort]", table);
      if (sorted) order(table, sorted, sorted.getAttribute("aria-sort"));
    }
    for (const line of all("#overall tbody tr")) {
      const index = data.names.indexOf(line.dataset.name);
      const tag = one("th .tag", line);
      if (tag) tag.remove();
      if (line.dataset.name === state.baseline) {
        const made = Object.assign(document.createElement("span"), { className: "tag", textContent: "baseline" });
        one("th", line).append(" ", made);
      }
      for (const cell of all("td.ratio", line)) {
        const packed = data.metrics[cell.dataset.metric].overall[state.baseline][index];
        cell.dataset.v = packed ? packed[0] : 1e9;
        one(".value", cell).textContent = packed ? `${format(packed[0])} ${range(packed)}` : "-";
      }
    }
    all(".base-name").forEach((element) => (element.textContent = state.baseline));
  }

  function showMetric() {
    all(".heat-block").forEach((block) => (block.hidden = block.dataset.metric !== state.metric));
    all(".switch button").forEach((button) => button.setAttribute("aria-pressed", button.dataset.metric === state.metric));
  }

  function applyFilter() {
    const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
    for (const line of all("table.heat tbody tr")) {
      const name = line.dataset.row.toLowerCase();
      line.hidden = !words.every((word) => name.includes(word));
    }
  }

  // ---- Sorting, for every table with headings ----

  function sortKey(line, column) {
    const cell = line.children[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text : number;
  }

  function order(table, heading, direction) {
    const column = [...heading.parentNode.children].indexOf(heading);
    const sign = direction === "ascending" ? 1 : -1;
    const compare = (one, two) => {
      const [a, b] = [sortKey(one, column), sortKey(two, column)];
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // what has no number comes last
      return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
    };
    one("tbody", table).append(...all("tbody tr", table).sort(compare));
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", direction);
  }

  function makeSortable(table) {
    for (const heading of all("thead th", table)) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: heading.textContent });
      heading.replaceChildren(button);
      button.addEventListener("click", () =>
        order(table, heading, heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending"));
    }
  }

  // ---- The scatter plot ----

  function points(row) {
    const of = (key) => {
      const metric = data.metrics[key];
      return row < 0 ? metric.overall[state.baseline] : metric.ratios[state.baseline][row].map((cell) => cell[0]);
    };
    const [time, memory] = [of("time"), of("memory")];
    return data.contenders
      .map((name, index) => ({ name, time: time[index], memory: memory[index] }))
      .filter((point) => point.time && point.memory);
  }

  // Those that nobody beats in both; half a per cent is not called a lead.
  function front(list) {
    const near = 1.005;
    const beats = (other, mine, key) => other[key][0] * near < mine[key][0];
    const atLeast = (other, mine, key) => other[key][0] <= mine[key][0] * near;
    const unbeaten = list.filter((mine) => !list.some((other) =>
      atLeast(other, mine, "time") && atLeast(other, mine, "memory") &&
      (beats(other, mine, "time") || beats(other, mine, "memory"))));
    return unbeaten.sort((a, b) => a.time[0] - b.time[0]);
  }

  function bars(list, key, colour) {
    return { type: "data", symmetric: false, thickness: 1, width: 3, color: colour,
      array: list.map((point) => point[key][2] - point[key][0]), arrayminus: list.map((point) => point[key][0] - point[key][1]) };
  }

  function axis(title, values, style) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const wide = most / least > 5;
    return { title: { text: title, standoff: 8 }, type: wide ? "log" : "linear", gridcolor: style("--line"), linecolor: style("--line"),
      zeroline: false, automargin: true, color: style("--soft"), fixedrange: true, dtick: wide ? "D2" : undefined, nticks: 8 };
  }

  // Puts each label on the side of its point where it meets the fewest points and labels before it.
  function places(list) {
    const box = one("#plot").getBoundingClientRect();
    const scale = (key, size) => {
      const logs = list.map((point) => Math.log(point[key][0]));
      const [least, most] = [Math.min(...logs), Math.max(...logs)];
      return logs.map((value) => (0.1 + (0.8 * (value - least)) / (most - least || 1)) * size);
    };
    const [xs, ys] = [scale("time", box.width - 80), scale("memory", box.height - 80)];
    const taken = list.map((_, index) => [xs[index] - 7, ys[index] - 7, xs[index] + 7, ys[index] + 7]);
    const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    return list.map((point, index) => {
      const [x, y, half] = [xs[index], ys[index], 3.8 * point.name.length];
      const sides = {
        "top center": [x - half, y + 8, x + half, y + 24], "bottom center": [x - half, y - 24, x + half, y - 8],
        "middle right": [x + 9, y - 8, x + 9 + 2 * half, y + 8], "middle left": [x - 9 - 2 * half, y - 8, x - 9, y + 8],
      };
      const count = (side) => taken.filter((other, at) => at !== index && meets(sides[side], other)).length;
      const best = Object.keys(sides).reduce((a, b) => (count(b) < count(a) ? b : a));
      taken.push(sides[best]);
      return best;
    });
  }

  function draw() {
    const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const list = points(Number(one("#scatter-row").value));
    const best = front(list);
    const at = (key) => list.map((point) => point[key][0]);
    const hover = list.map((point) => `${point.name}<br>time ${format(point.time[0])} ${range(point.time)}<br>memory ${format(point.memory[0])} ${range(point.memory)}`);
    const traces = [
      { x: best.map((p) => p.time[0]), y: best.map((p) => p.memory[0]), mode: "lines", hoverinfo: "skip",
        line: { color: style("--soft"), width: 1, dash: "dash" } },
      { x: at("time"), y: at("memory"), mode: "markers+text", text: list.map((point) => point.name), textposition: places(list),
        hovertext: hover, hoverinfo: "text", cliponaxis: false, textfont: { color: style("--ink"), size: 12.5 },
        error_x: bars(list, "time", style("--bound")), error_y: bars(list, "memory", style("--bound")),
        marker: { size: 11, color: list.map((p) => (best.includes(p) ? style("--dot") : style("--bound"))),
          symbol: list.map((point) => (point.name === state.baseline ? "diamond" : "circle")) } },
    ];
    const layout = {
      xaxis: axis(`time, ratio to ${state.baseline}`, at("time"), style), yaxis: axis(`memory, ratio to ${state.baseline}`, at("memory"), style),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "system-ui, sans-serif", color: style("--ink") },
      margin: { l: 56, r: 28, t: 28, b: 48 }, showlegend: false, hovermode: "closest", dragmode: false,
      shapes: ["x", "y"].map((side) => ({ type: "line", layer: "below", line: { color: style("--soft"), width: 1 },
        ...(side === "x" ? { x0: 1, x1: 1, y0: 0, y1: 1, yref: "paper" } : { y0: 1, y1: 1, x0: 0, x1: 1, xref: "paper" }) })),
    };
    window.Plotly.react("plot", traces, layout, { displayModeBar: false, responsive: true });
    const body = one("#scatter-table tbody");
    body.replaceChildren(...list.map((point) => {
      const line = document.createElement("tr");
      line.append(Object.assign(document.createElement("th"), { scope: "row", textContent: point.name }));
      for (const key of ["time", "memory"])
        line.append(Object.assign(document.createElement("td"), { textContent: `${format(point[key][0])} ${range(point[key])}` }));
      return line;
    }));
  }

  async function loadPlotly() {
    const packed = document.getElementById("plotly");
    if (!packed || !window.DecompressionStream) return;
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
    const choice = one("#scatter-row");
    choice.append(new Option("all (geometric mean)", -1), ...data.rows.map((row, index) => new Option(row, index)));
    choice.addEventListener("change", draw);
    one("#scatter .needs-script").hidden = false;
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    document.dispatchEvent(new Event("plotly"));
    document.documentElement.dataset.plot = "ready";
  }

  // ---- Start ----

  document.documentElement.classList.add("scripted");
  one("#ratios .controls").hidden = false;
  const choice = one("#baseline");
  choice.append(...data.bases.map((name) => new Option(name, name, name === state.baseline, name === state.baseline)));
  choice.disabled = data.bases.length < 2;
  choice.addEventListener("change", () => {
    state.baseline = choice.value;
    rebase();
    if (window.Plotly) draw();
  });
  all(".switch button").forEach((button) => button.addEventListener("click", () => {
    state.metric = button.dataset.metric;
    showMetric();
  }));
  one("#filter").addEventListener("input", (event) => {
    state.filter = event.target.value;
    applyFilter();
  });
  all("table.heat, table.sortable").forEach(makeSortable);
  showMetric();
  addEventListener("beforeprint", () => all("details").forEach((element) => (element.open = true)));
  loadPlotly();
})();
