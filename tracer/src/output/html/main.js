// @ts-check
// The page: what is looked at, views, and keys.

import { byId, element, note, painted } from "./dom.js";
import { unpack } from "./data.js";
import { momentsOf } from "./course.js";
import { DIFFERENCES, heldBy, linesOf, MEASURES, sitesOf, threadsOf } from "./model.js";
import { treeOf } from "./stacks.js";
import { addressOf, stateOf, VIEWS } from "./address.js";
import { chart } from "./chart.js";
import { flame } from "./flame.js";
import { lineTable } from "./lines.js";
import { diffCategories, diffCensus, diffCode, diffLines, diffMemory, diffQuality, diffThreads } from "./diff.js";
import { categoryTable, censusTable, codeTables, memoryTable, quality, siteTable, threadTables } from "./tables.js";
import { diffHeading, heading } from "./heading.js";

/** @typedef {import("./data.js").Report} Report */

const TAB_NAMES = new Map([["code", "code cache"], ["quality", "data quality"]]);
/** Views that the measure, the filters and frames apply to. */
const OF_STACKS = ["flame", "inverted", "table"];
/** Views that follow a range. */
const FOLLOW = [...OF_STACKS, "categories", "memory"];

/** @param {Report} report */
function start(report) {
  const { facts } = report;
  const isDiff = facts.kind === "diff";
  /** @type {Record<string, string>} */
  const measures = isDiff ? DIFFERENCES : MEASURES;
  const usual = Object.keys(measures)[0];
  const state = stateOf("", Object.keys(measures));
  const graph = flame((node) => {
    const path = [];
    for (let next = /** @type {typeof node | null} */ (node); next?.parent; next = next.parent) path.unshift(next.name);
    state.zoom = path;
    save();
  });
  const course = isDiff ? null : chart(facts, (range) => {
    state.range = range;
    update();
  });

  if (course) {
    heading(facts);
    byId("chart").append(course.root);
  } else {
    diffHeading(facts);
    byId("h-chart").parentElement?.remove();
  }
  controls();
  load(location.hash.slice(1));
  save();
  lines(look());
  course?.select(state.range);
  // The answer is seen before the views, which take longer.
  painted(() => {
    performance.mark("answer");
    update();
    document.documentElement.dataset.ready = "yes";
  });
  window.addEventListener("hashchange", () => {
    if (location.hash.slice(1) !== saved) {
      load(location.hash.slice(1));
      update();
    }
  });
  window.addEventListener("resize", () => course?.draw());
  const root = document.documentElement.style;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const schemed = (/** @type {string} */ scheme) => {
    root.colorScheme = scheme;
    course?.draw();
    graph.draw();
  };
  dark.addEventListener("change", () => schemed(""));
  let before = "";
  window.addEventListener("beforeprint", () => {
    before = root.colorScheme;
    schemed("light");
  });
  window.addEventListener("afterprint", () => schemed(before));
  document.addEventListener("keydown", key);
  byId("keys").addEventListener("click", help);

  function look() {
    return {
      measure: state.measure, category: state.category, filter: pattern(state.filter), jvm: state.jvm, jdk: state.jdk,
      held: heldBy(report, state.thread), moments: isDiff || state.thread ? null : momentsOf(facts.times_ns, state.range),
    };
  }

  function update() {
    save();
    const looked = look();
    lines(looked);
    for (const tab of document.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", String(tab.id === `tab-${state.view}`));
    course?.select(state.range);
    view(looked);
    byId("views").setAttribute("aria-labelledby", `tab-${state.view}`);
  }

  /** @param {ReturnType<typeof look>} looked */
  function lines(looked) {
    const of = JSON.stringify([state.category, state.thread, state.filter, state.jvm, state.jdk, state.all, looked.moments]);
    if (of === shownLines) return;
    shownLines = of;
    if (isDiff) {
      byId("lines").replaceChildren(diffLines(facts, state.all, () => { state.all = true; update(); }));
      return;
    }
    const whole = { ...looked, measure: "live", moments: null };
    const isWhole = !state.category && !state.thread && !state.filter;
    byId("lines").replaceChildren(lineTable(report, linesOf(report, sitesOf(report, whole), whole, isWhole), looked, state.all, (shown) => {
      state.all = shown;
      update();
    }));
  }

  /** @param {ReturnType<typeof look>} looked */
  function view(looked) {
    const box = byId("view");
    byId("looking").hidden = !OF_STACKS.includes(state.view);
    byId("searching").hidden = state.view === "table";
    input("measure").disabled = state.thread !== "";
    if (state.view === "flame" || state.view === "inverted") return picture(looked, box);
    const choose = (/** @type {string} */ id) => {
      load(addressOf({ ...state, category: id, view: VIEWS[0], zoom: [] }, usual));
      update();
    };
    const made = state.view === "table" ? siteTable(report, sitesOf(report, looked), looked) : isDiff ? {
      categories: () => diffCategories(facts, choose), threads: () => diffThreads(facts), code: () => diffCode(facts), census: () => diffCensus(facts),
      memory: () => diffMemory(facts), quality: () => diffQuality(facts),
    }[/** @type {"code"} */ (state.view)]() : {
      categories: () => categoryTable(facts, state.range, choose), threads: () => threadTables(facts), code: () => codeTables(facts), census: () => censusTable(facts),
      memory: () => memoryTable(facts, state.range), quality: () => quality(facts),
    }[/** @type {"code"} */ (state.view)]();
    const isWhole = state.range && !FOLLOW.includes(state.view);
    box.replaceChildren(...(isWhole ? [note("This is of the whole recording: the range applies to the chart, lines, graphs, call paths, categories and memory.")] : []), made);
  }

  /** @param {ReturnType<typeof look>} looked @param {HTMLElement} box */
  function picture(looked, box) {
    const of = state.thread ? `not freed, allocated by ${state.thread}` : looked.moments && state.measure === "live" ? "more not freed" : measures[state.measure];
    const name = of + (looked.moments ? " in the range" : "");
    const sites = sitesOf(report, looked);
    if (!sites.length) {
      const where = `${state.category ? ` of ${state.category}` : ""}${state.filter ? ` on stacks with ${state.filter}` : ""}`;
      return box.replaceChildren(note(`Nothing to draw: no bytes ${name}${where}.`));
    }
    box.replaceChildren(graph.root, ...(state.thread && state.range ? [note("Threads are known for what is not freed at the end: the range does not apply.")] : []));
    graph.show(treeOf(report, sites, looked, state.view === "inverted"), name);
    graph.zoomTo(state.zoom);
    find();
  }

  function find() {
    const text = input("search").value;
    byId("found").textContent = graph.search(text ? pattern(text) : null);
  }

  function controls() {
    const tabs = VIEWS.map((name, at) => element("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "views", title: `key ${at + 1}`,
      click: () => goTo(name),
    }, TAB_NAMES.get(name) ?? name));
    byId("tabs").append(...tabs);
    const option = (/** @type {[string, string]} */ [value, name]) => element("option", { value }, name);
    byId("measure").append(...Object.entries(measures).map(option));
    const ids = new Set(facts.categories.filter((/** @type {any} */ row) => row.source === facts.source).map((/** @type {any} */ row) => row.id));
    byId("category").append(option(["", "all categories"]), ...[...ids].map((id) => option([id, id])));
    const threads = threadsOf(report);
    byId("thread").append(option(["", "all threads"]), ...threads.map((name) => option(/** @type {[string, string]} */ ([name, name]))));
    byId("threads").hidden = !threads.length;
    for (const id of ["measure", "category", "thread", "filter", "jvm", "jdk"]) byId(id).addEventListener("change", read);
    byId("search").addEventListener("input", find);
    byId("help").append(element("p", {}, "Keys: / search, n and N next and previous match, 0 all of the graph, i inverted, 1 to 9 views, d light or dark, Esc clears the search and the range, ? this. In the graph and the chart, arrow keys move."));
  }

  function read() {
    for (const name of /** @type {const} */ (["category", "thread", "filter"])) state[name] = input(name).value;
    state.measure = state.thread ? usual : input("measure").value;
    state.jvm = input("jvm").checked;
    state.jdk = input("jdk").checked;
    state.zoom = [];
    show();
    update();
  }

  function save() {
    saved = addressOf(state, usual);
    history.replaceState(null, "", saved ? `#${saved}` : location.pathname + location.search);
  }

  /** @param {string} address */
  function load(address) {
    Object.assign(state, stateOf(address, Object.keys(measures)));
    if (state.thread) state.measure = usual;
    show();
  }

  /** What is chosen, in the controls. */
  function show() {
    for (const name of /** @type {const} */ (["measure", "category", "thread", "filter"])) input(name).value = state[name];
    [input("jvm").checked, input("jdk").checked] = [state.jvm, state.jdk];
  }

  function help() {
    const isHidden = byId("help").toggleAttribute("hidden");
    byId("keys").setAttribute("aria-expanded", String(!isHidden));
  }

  /** @param {string} name */
  function goTo(name) {
    state.view = name;
    state.zoom = [];
    update();
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const typing = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
    if (event.key === "Escape") {
      input("search").value = "";
      /** @type {HTMLElement} */ (document.activeElement)?.blur();
      if (!byId("help").hidden) help();
      if (!state.range) return find();
      state.range = null;
      update();
    } else if (typing) {
      if (event.key === "Enter" && event.target === byId("search")) graph.step(1);
      return;
    } else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "/") {
      if (byId("looking").hidden || state.view === "table") goTo(VIEWS[0]);
      byId("search").focus();
    } else if (event.key === "n") graph.step(1);
    else if (event.key === "N") graph.step(-1);
    else if (event.key === "0") graph.reset();
    else if (event.key === "i") goTo(state.view === "inverted" ? "flame" : "inverted");
    else if (event.key === "d") schemed((root.colorScheme || (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark");
    else if (event.key === "?") help();
    else if (/^[1-9]$/.test(event.key) && VIEWS[Number(event.key) - 1]) goTo(VIEWS[Number(event.key) - 1]);
    else return;
    event.preventDefault();
  }
}

let saved = "";
/** What the lines that are shown were made of. */
let shownLines = "";

/** @param {string} id @returns {HTMLInputElement} */
const input = (id) => /** @type {HTMLInputElement} */ (byId(id));

/** What was typed, as a pattern; what is none is taken as it is. @param {string} text @returns {RegExp | null} */
function pattern(text) {
  if (!text) return null;
  try {
    return new RegExp(text, "i");
  } catch {
    return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i");
  }
}

unpack().then(start, (error) => {
  byId("found-lines").append(note(`This page cannot be shown: ${error}. It needs a browser of 2024 or later.`, "bad"));
});
