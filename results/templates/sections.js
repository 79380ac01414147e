// The plots of the report's further sections (results/section.py): lines over one axis, with a choice where there is one.
"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("data").textContent).sections;
  const one = (selector) => document.querySelector(selector);

  function draw(id, plot, choice) {
    const by = plot.curves[choice];
    const names = [...new Set(Object.values(plot.curves).flatMap((curves) => Object.keys(curves)))]; // the same colours for every choice
    const shape = plot.steps ? { shape: "hv" } : {};
    const traces = names.filter((name) => by[name]).flatMap((name) => {
      const [index, points] = [names.indexOf(name), by[name]];
      const line = { ...window.reportPlots.line(index, false), ...shape };
      const x = points.map((p) => p[0]);
      const main = { x, y: points.map((p) => p[1]), name, line, legendgroup: name, connectgaps: false,
        mode: points.length > 40 || plot.steps ? "lines" : "lines+markers",
        hovertemplate: `%{y:.4g} at %{x:,.4g}<extra>${name.replace(/[<&]/g, " ")}</extra>` };
      if (!points.some((p) => p.length > 3)) return [main];
      return [{ x: [...x, ...[...x].reverse()], y: [...points.map((p) => p[3]), ...points.map((p) => p[2]).reverse()], fill: "toself",
        fillcolor: line.color + "26", line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: name }, main];
    });
    const power = { type: "log", exponentformat: "power", dtick: 1 };
    window.Plotly.react(`${id}-plot`, traces, window.reportPlots.layout(
      window.reportPlots.axis(plot.x, plot.log_x ? power : {}),
      window.reportPlots.axis(plot.y, plot.log_y ? power : plot.y_most ? { range: [0, plot.y_most] } : { rangemode: "tozero" })), { displayModeBar: false, responsive: true });
  }

  document.addEventListener("plotly", () => {
    for (const [id, plot] of Object.entries(plots)) {
      const element = document.getElementById(`${id}-plot`);
      if (!element) continue;
      const choices = Object.keys(plot.curves);
      const choice = document.getElementById(`${id}-choice`);
      const again = () => draw(id, plot, choice ? choice.value : choices[0]);
      if (choice) {
        choice.append(...choices.map((name) => new Option(name, name)));
        choice.addEventListener("change", again);
      }
      element.closest(".needs-script").hidden = false;
      again();
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    }
  });
})();
