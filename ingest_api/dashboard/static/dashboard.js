// What the dashboard does in the browser: follow live hints, draw the time series, keep what is open open.
"use strict";
(() => {
  const REFRESH_WITHIN_MS = 700; // hints come up to five times a second; a refresh answers all that came before it
  const AWAY_REFRESH_MS = 15000;
  const LINES = [
    { name: "Delivered", colour: "--line-delivered", dash: [3, 4] },
    { name: "Opened", colour: "--line-opened", dash: [] },
    { name: "Clicked", colour: "--line-clicked", dash: [10, 4] },
  ];
  const hidden = new Set();
  const opened = new Set();
  let plot = null;
  let lastHint = null;
  let lastHintEvents = 0;
  let due = null;
  let isAway = false;

  const byId = (id) => document.getElementById(id);
  const number = (value) => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // The chart ------------------------------------------------------------------------------------------------
  function stamp(seconds, grain) {
    const text = new Date(seconds * 1000).toISOString();
    return grain === "day" ? text.slice(0, 10) : `${text.slice(5, 10)} ${text.slice(11, 16)}`;
  }

  const DAY_S = 86400;
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  function ticks(_, moments) {
    return moments.map((seconds) => {
      const at = new Date(seconds * 1000);
      if (seconds % DAY_S === 0) return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
      return at.toISOString().slice(11, 16);
    });
  }

  function showValues(index) {
    for (const value of document.querySelectorAll("[data-value]")) {
      const column = plot.data[Number(value.dataset.value)];
      value.textContent = number(index === null ? column.reduce((sum, one) => sum + one, 0) : column[index]);
    }
    const note = document.querySelector("#course-title .aside");
    const grain = byId("chart").dataset.grain;
    note.textContent = index === null ? `events by ${grain}` : `${stamp(plot.data[0][index], grain)} UTC`;
  }

  function options(figure) {
    const ink = colour("--ink-soft");
    const grid = { stroke: colour("--grid"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: ink, grid, ticks: { show: false }, font };
    return {
      width: figure.clientWidth,
      height: figure.clientHeight,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(4, high * 1.08)] } },
      axes: [
        { ...axis, grid: { show: false }, space: 64, size: 32, values: ticks },
        { ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? number(tick) : "")) },
      ],
      series: [
        {},
        ...LINES.map((line, index) => ({
          label: line.name,
          stroke: colour(line.colour),
          width: 2,
          dash: line.dash,
          points: { show: figure.dataset.grain === "day", size: 5 },
          show: !hidden.has(String(index + 1)),
        })),
      ],
      hooks: { setCursor: [(self) => showValues(self.cursor.idx ?? null)] },
    };
  }

  function draw() {
    if (plot) {
      plot.destroy();
      plot = null;
    }
    const figure = byId("chart");
    if (!figure) return;
    plot = new uPlot(options(figure), JSON.parse(figure.dataset.series), figure);
    for (const key of document.querySelectorAll(".key")) {
      key.setAttribute("aria-pressed", String(!hidden.has(key.dataset.line)));
    }
  }

  // Live -----------------------------------------------------------------------------------------------------
  function say(state, text) {
    const live = byId("live");
    if (live.dataset.state === state) return;
    live.dataset.state = state;
    live.querySelector(".live-text").textContent = text;
  }

  function showHint() {
    const place = byId("last-hint");
    if (!place || lastHint === null) return;
    const seconds = Math.round((Date.now() - lastHint) / 1000);
    const age = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
    place.className = "";
    place.textContent = `${age} ago`;
    if (lastHintEvents) {
      const aside = document.createElement("span");
      aside.className = "aside";
      aside.textContent = ` ${number(lastHintEvents)} ${lastHintEvents === 1 ? "event" : "events"}`;
      place.append(aside);
    }
  }

  function refresh() {
    if (due !== null) return;
    due = setTimeout(() => {
      due = null;
      if (!document.hidden) htmx.trigger("#panels", "refresh");
    }, REFRESH_WITHIN_MS);
  }

  function listen() {
    const source = new EventSource("/api/v1/publishing/live");
    source.addEventListener("state", (event) => {
      isAway = JSON.parse(event.data).cache !== "up";
      if (isAway) say("away", "Live hints are away; refreshed every 15 s");
      else {
        say("live", "Live");
        refresh(); // what happened while nobody listened
      }
    });
    source.addEventListener("windows", (event) => {
      const hint = JSON.parse(event.data);
      const only = byId("panels").dataset.publication;
      lastHint = Date.now();
      lastHintEvents = hint.events;
      showHint();
      if (!only || hint.publications.includes(Number(only))) refresh();
    });
    source.addEventListener("suppressed", refresh);
    source.addEventListener("error", () => {
      isAway = true;
      say("away", "No connection; trying again");
    });
    addEventListener("pagehide", () => source.close());
  }

  // The page -------------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const key = event.target.closest(".key");
    if (!key || !plot) return;
    const line = key.dataset.line;
    if (!hidden.delete(line)) hidden.add(line);
    plot.setSeries(Number(line), { show: !hidden.has(line) });
    key.setAttribute("aria-pressed", String(!hidden.has(line)));
  });

  document.addEventListener("toggle", (event) => {
    const { id, open } = event.target;
    if (id) (open ? opened.add(id) : opened.delete(id));
  }, true);

  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) byId(id)?.setAttribute("open", "");
    draw();
    showHint();
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    const figure = byId("chart");
    if (plot && figure) plot.setSize({ width: figure.clientWidth, height: figure.clientHeight });
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  setInterval(showHint, 1000);
  setInterval(() => { if (isAway) refresh(); }, AWAY_REFRESH_MS);
  draw();
  listen();
})();
