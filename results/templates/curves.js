// The curves of the report page: tail latency, memory over time, scaling with threads. Tables with the same figures
// stand below each plot.
"use strict";
(() => {
  const curves = JSON.parse(document.getElementById("data").textContent).curves;
  // Okabe and Ito's colours, told apart by every kind of colour sight; dashes tell apart those beyond eight.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#7a7a7a"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const one = (selector) => document.querySelector(selector);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function line(index, bound) {
    return { color: COLOURS[index % COLOURS.length], width: bound ? 1 : 2,
      dash: bound ? "dot" : DASHES[Math.floor(index / COLOURS.length) % DASHES.length] };
  }

  const trace = (index, name, x, y, more = {}) => ({ x, y, name, mode: "lines", legendgroup: name,
    line: line(index, curves.bounds.includes(name)), ...more });

  // The names of a plot in the same order, and so the same colours, in every plot.
  const names = [...new Set(Object.values(curves).filter((part) => !Array.isArray(part))
    .flatMap((part) => Object.values(part)).flatMap((by) => Object.keys(by)))];

  function axis(title, more) {
    return { title: { text: title, standoff: 8 }, gridcolor: style("--line"), linecolor: style("--line"), zeroline: false,
      automargin: true, color: style("--soft"), fixedrange: true, ...more };
  }

  function layout(x, y, more = {}) {
    return { xaxis: x, yaxis: y, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { family: "system-ui, sans-serif", color: style("--ink") }, margin: { l: 60, r: 20, t: 16, b: 48 },
      legend: { orientation: "h", y: -0.22, font: { size: 12 } }, dragmode: false, ...more };
  }

  function latency(row, call) {
    const by = curves.latency[row];
    const traces = names.filter((name) => by[name] && by[name][call]).map((name) => {
      const points = by[name][call];
      return trace(names.indexOf(name), name, points.map((p) => p[0]), points.map((p) => p[1]),
        { line: { ...line(names.indexOf(name), curves.bounds.includes(name)), shape: "hv" },
          hovertemplate: "%{y:.2g} of the calls took longer than %{x:,.0f} ns<extra>" + name + "</extra>" });
    });
    const power = { type: "log", exponentformat: "power", dtick: 1 };
    return [traces, layout(axis(`time of one ${call}, ns`, power), axis("share of calls that took longer", power))];
  }

  // Left the run, right what stays resident when everything is freed: seconds, where the run may take milliseconds.
  function timeline(row) {
    const by = curves.timeline[row];
    const there = names.filter((name) => by[name]);
    const traces = there.flatMap((name) => {
      const draw = (points, more) => trace(names.indexOf(name), name, points.map((p) => p[0]), points.map((p) => p[1]),
        { hovertemplate: "%{y:.1f} MiB resident at %{x:,.0f} ms<extra>" + name + "</extra>", ...more });
      return [draw(by[name].points, {}), draw(by[name].after, { xaxis: "x2", showlegend: false })];
    });
    const live = there.map((name) => by[name].points).find((points) => points.some((p) => p[2] !== null));
    if (live)
      traces.push({ x: live.map((p) => p[0]), y: live.map((p) => p[2]), name: "live bytes", mode: "lines", fill: "tozeroy",
        line: { color: style("--bound"), width: 1 }, fillcolor: "rgba(128,128,128,.15)" });
    const narrow = one("#timeline-plot").clientWidth < 600;
    const after = axis(narrow ? "ms after" : "ms after all was freed", { domain: [0.7, 1], rangemode: "tozero", nticks: 4 });
    return [traces, layout(axis(narrow ? "ms" : "ms since the start", { domain: [0, 0.64] }),
      axis("MiB", { rangemode: "tozero" }), { xaxis2: after })];
  }

  function scaling(workload) {
    const by = curves.scaling[workload];
    const traces = names.filter((name) => by[name]).flatMap((name) => {
      const [index, points] = [names.indexOf(name), by[name]];
      const x = points.map((p) => p[0]);
      const shown = curves.bounds.includes(name) ? "legendonly" : true; // a bound would squeeze the contenders together
      const band = { x: [...x, ...[...x].reverse()], y: [...points.map((p) => p[3]), ...points.map((p) => p[2]).reverse()],
        fill: "toself", visible: shown, fillcolor: line(index).color + "26", line: { width: 0 }, mode: "lines", hoverinfo: "skip",
        showlegend: false, legendgroup: name };
      return [band, trace(index, name, x, points.map((p) => p[1]),
        { mode: "lines+markers", visible: shown, hovertemplate: "%{y:.3g} million operations/s with %{x} threads<extra>" + name + "</extra>" })];
    });
    const counts = [...new Set(Object.values(by).flatMap((points) => points.map((p) => p[0])))];
    return [traces, layout(axis("threads", { type: "log", tickvals: counts, ticktext: counts.map(String) }),
      axis("million operations/s", { rangemode: "tozero" }))];
  }

  function show(kind, make) {
    const [plot, choice, call] = [one(`#${kind}-plot`), one(`#${kind}-row`), one(`#${kind}-call`)];
    if (!plot) return;
    const keys = Object.keys(curves[kind]);
    choice.append(...keys.map((key) => new Option(key, key)));
    const draw = () => {
      const [traces, shape] = make(choice.value, call ? call.value : "");
      window.Plotly.react(plot, traces, shape, { displayModeBar: false, responsive: true });
    };
    const calls = () => {
      const kinds = [...new Set(Object.values(curves.latency[choice.value]).flatMap((by) => Object.keys(by)))];
      call.replaceChildren(...kinds.map((name) => new Option(name, name)));
    };
    if (call) calls();
    choice.addEventListener("change", () => { if (call) calls(); draw(); });
    if (call) call.addEventListener("change", draw);
    one(`#${kind} .needs-script`).hidden = false;
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }

  window.reportPlots = { line, axis, layout }; // sections.js draws in the same style

  document.addEventListener("plotly", () => {
    show("latency", latency);
    show("timeline", timeline);
    show("scaling", scaling);
  });
})();
