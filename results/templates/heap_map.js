// Plays the frames of `heaparena map` (heap_map.html.j2). Every figure was computed in Python.
"use strict";
(() => {
  const COLUMNS = 128;
  const STEP_MS = 180;
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  let data = null;
  let timer = 0;

  // The frame of another map at the same moment: that of the same phase, or the last that is not later.
  function matching(frames, wanted) {
    const named = frames.findIndex((frame) => frame.phase && frame.phase === wanted.phase);
    if (named >= 0) return named;
    let best = 0;
    frames.forEach((frame, index) => { if (frame.operations <= wanted.operations && (!frame.phase || index === 0)) best = index; });
    return best;
  }

  function drawCells(canvas, map, frame, colour) {
    const kinds = colour === "kinds" && frame.kinds;
    const rows = Math.max(1, Math.ceil(frame.live.length / COLUMNS));
    const size = Math.max(1, Math.round((canvas.clientWidth || 512) * (window.devicePixelRatio || 1) / COLUMNS));
    canvas.width = COLUMNS * size;
    canvas.height = rows * size;
    canvas.style.aspectRatio = `${COLUMNS} / ${rows}`;
    const context = canvas.getContext("2d");
    const blank = getComputedStyle(document.documentElement).getPropertyValue("--same");
    for (let at = 0; at < frame.live.length; at++) {
      const [live, resident] = [frame.live.charCodeAt(at) - 48, frame.resident.charCodeAt(at) - 48];
      const kind = kinds ? frame.kinds.charCodeAt(at) - 48 : -1;
      const empty = kinds ? kind === 0 : live + resident === 0;
      context.fillStyle = empty ? blank : `rgb(${kinds ? data.kinds[kind] : data.use[live][resident]})`;
      context.fillRect((at % COLUMNS) * size, Math.floor(at / COLUMNS) * size, size, size);
    }
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    for (const at of map.breaks) context.fillRect((at % COLUMNS) * size, Math.floor(at / COLUMNS) * size, Math.max(1, size / 4), size);
  }

  function drawCurve(canvas, map, index) {
    const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
    const [width, height] = [canvas.clientWidth || 512, 84];
    const ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const most = Math.max(...map.frames.map((frame) => Math.max(...frame.curve)), 1e-9);
    const place = (at, value) => [4 + (at * (width - 8)) / Math.max(1, map.frames.length - 1), height - 4 - (value / most) * (height - 22)];
    const path = (part) => {
      context.beginPath();
      map.frames.forEach((frame, at) => context.lineTo(...place(at, frame.curve[part])));
    };
    path(0);
    context.lineTo(...place(map.frames.length - 1, 0));
    context.lineTo(...place(0, 0));
    context.fillStyle = style("--less-3");
    context.fill();
    path(1);
    context.strokeStyle = style("--more-4");
    context.lineWidth = 2;
    context.stroke();
    const [x] = place(index, 0);
    context.fillStyle = style("--ink");
    context.fillRect(x - 0.5, 16, 1, height - 16);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = style("--soft");
    context.fillText(`${most.toPrecision(3)} MiB`, 4, 12);
  }

  function show() {
    const index = Number(one("#frame").value);
    const longest = data.maps.reduce((a, b) => (b.frames.length > a.frames.length ? b : a));
    const wanted = longest.frames[index];
    const choice = one("#colour");
    const colour = choice ? choice.value : "use";
    one("#moment").textContent = wanted.moment;
    one("#frame").setAttribute("aria-valuetext", wanted.moment);
    all(".legend").forEach((legend) => (legend.hidden = legend.dataset.colour !== colour));
    all(".heaps article").forEach((article) => {
      const map = data.maps[Number(article.dataset.map)];
      const at = map === longest ? index : matching(map.frames, wanted);
      const frame = map.frames[at];
      const said = `${frame.moment[0].toUpperCase()}${frame.moment.slice(1)}: ${frame.said}.`;
      one(".said", article).textContent = said;
      const canvas = one("canvas.cells", article);
      canvas.setAttribute("aria-label", `Map of the heap of ${map.name}. ${said}`);
      drawCells(canvas, map, frame, colour);
      drawCurve(one("canvas.curve", article), map, at);
    });
  }

  function play(on) {
    clearInterval(timer);
    const [slider, button] = [one("#frame"), one("#play")];
    button.textContent = on ? "Pause" : "Play";
    button.setAttribute("aria-pressed", String(on));
    if (!on) return;
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) >= Number(slider.max)) play(false);
    }, STEP_MS);
  }

  async function start() {
    const bytes = Uint8Array.from(atob(one("#data").textContent), (letter) => letter.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    data = await new Response(plain).json();
    all(".player, .keys, .heaps").forEach((element) => (element.hidden = false));
    one("#play").addEventListener("click", () => play(one("#play").getAttribute("aria-pressed") !== "true"));
    one("#frame").addEventListener("input", () => { play(false); show(); });
    if (one("#colour")) one("#colour").addEventListener("change", show);
    addEventListener("resize", show);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    show();
    document.documentElement.dataset.map = "ready";
  }

  start();
})();
