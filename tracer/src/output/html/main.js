// @ts-check
// The page: what is looked at, views, keys, and the address that says all of it.

import { byId, element, note, color } from "./dom.js";
import { unpack } from "./data.js";
import { momentsOf } from "./course.js";
import { DIFFERENCES, linesOf, MEASURES, sitesOf } from "./model.js";
import { treeOf } from "./stacks.js";
import { chart } from "./chart.js";
import { flame } from "./flame.js";
import { lineTable } from "./lines.js";
import { diffCategories, diffCensus, diffCode, diffLines, diffMemory, diffQuality, diffThreads } from "./diff.js";
import { categoryTable, censusTable, codeTables, memoryTable, quality, siteTable, threadTables } from "./tables.js";
import { diffHeading, heading } from "./heading.js";

/** @typedef {import("./data.js").Report} Report */

const VIEWS = ["flame", "inverted", "table", "categories", "threads", "code", "census", "memory", "quality"];
const SECOND = 1e9;

/** @param {Report} report */
function start(report) {
  const { facts } = report;
  const isDiff = facts.kind === "diff";
  /** @type {Record<string, string>} */
  const measures = isDiff ? DIFFERENCES : MEASURES;
  const usual = Object.keys(measures)[0];
  const state = { view: "flame", measure: usual, category: "", filter: "", jvm: false, jdk: false, all: false, range: /** @type {import("./chart.js").Range | null} */ (null), zoom: /** @type {string[]} */ ([]) };
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
  load();
  update();
  document.documentElement.dataset.ready = color("page") ? "yes" : "no";
  window.addEventListener("hashchange", () => {
    if (location.hash.slice(1) !== saved) {
      load();
      update();
    }
  });
  window.addEventListener("resize", () => course?.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
  document.addEventListener("keydown", key);

  function look() {
    return { measure: state.measure, category: state.category, filter: pattern(state.filter), jvm: state.jvm, jdk: state.jdk, moments: isDiff ? null : momentsOf(facts.times_ns, state.range) };
  }

  function update() {
    save();
    const looked = look();
    const sites = sitesOf(report, looked);
    lines(looked);
    for (const tab of document.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", String(tab.id === `tab-${state.view}`));
    course?.select(state.range);
    view(sites, looked);
    byId("views").setAttribute("aria-labelledby", `tab-${state.view}`);
  }

  /** @param {ReturnType<typeof look>} looked */
  function lines(looked) {
    const of = JSON.stringify([state.category, state.filter, state.jvm, state.jdk, state.all, looked.moments]);
    if (of === shownLines) return;
    shownLines = of;
    if (isDiff) {
      byId("lines").replaceChildren(diffLines(facts, state.all, () => { state.all = true; update(); }));
      return;
    }
    const passing = sitesOf(report, { ...looked, measure: "live", moments: null });
    byId("lines").replaceChildren(lineTable(report, linesOf(report, passing, !state.category && !state.filter), looked, state.all, (shown) => {
      state.all = shown;
      update();
    }));
  }

  /** @param {number[]} sites @param {ReturnType<typeof look>} looked */
  function view(sites, looked) {
    const name = looked.moments && state.measure === "live" ? "more not freed in the range" : measures[state.measure] + (looked.moments ? " in the range" : "");
    const box = byId("view");
    byId("looking").hidden = !["flame", "inverted", "table"].includes(state.view);
    if (state.view === "flame" || state.view === "inverted") {
      if (!sites.length) return box.replaceChildren(note(`Nothing to draw: no bytes ${name}${state.category ? ` of ${state.category}` : ""}${state.filter ? ` on stacks with ${state.filter}` : ""}.`));
      box.replaceChildren(graph.root);
      graph.show(treeOf(report, sites, looked, state.view === "inverted"), name);
      graph.zoomTo(state.zoom);
      return find();
    }
    const choose = (/** @type {string} */ id) => {
      state.category = id;
      state.view = "flame";
      load(hash());
      update();
    };
    const views = isDiff ? {
      categories: () => diffCategories(facts, choose), threads: () => diffThreads(facts), code: () => diffCode(facts), census: () => diffCensus(facts),
      memory: () => diffMemory(facts), quality: () => diffQuality(facts),
    } : {
      categories: () => categoryTable(facts, state.range, choose), threads: () => threadTables(facts), code: () => codeTables(facts), census: () => censusTable(facts),
      memory: () => memoryTable(facts), quality: () => quality(facts),
    };
    const made = state.view === "table" ? siteTable(report, sites, looked) : views[/** @type {"code"} */ (state.view)]();
    const follows = ["table", "categories"].includes(state.view);
    box.replaceChildren(...(state.range && !follows ? [note("This is of the whole recording: the range applies to the chart, lines, graphs, call paths and categories.")] : []), made);
  }

  function find() {
    const text = input("search").value;
    byId("found").textContent = graph.search(text ? pattern(text) : null);
  }

  function controls() {
    const tabs = VIEWS.map((name) => element("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "views",
      click: () => { state.view = name; state.zoom = []; update(); },
    }, name === "code" ? "code cache" : name === "quality" ? "data quality" : name));
    byId("tabs").append(...tabs);
    byId("measure").append(...Object.entries(measures).map(([id, name]) => element("option", { value: id }, name)));
    const ids = [...new Set(facts.categories.filter((/** @type {any} */ row) => row.source === facts.source).map((/** @type {any} */ row) => row.id))];
    byId("category").append(element("option", { value: "" }, "all categories"), ...ids.map((id) => element("option", { value: id }, id)));
    for (const id of ["measure", "category", "filter", "jvm", "jdk"]) byId(id).addEventListener("change", read);
    byId("search").addEventListener("input", find);
    byId("help").append(element("p", {}, "Keys: / search, n and N next and previous match, 0 all of the graph, i inverted, 1 to 9 views, Esc clears the search and the range, ? this."));
  }

  function read() {
    state.measure = input("measure").value;
    state.category = input("category").value;
    state.filter = input("filter").value;
    state.jvm = input("jvm").checked;
    state.jdk = input("jdk").checked;
    state.zoom = [];
    update();
  }

  function hash() {
    const parts = new URLSearchParams();
    if (state.view !== "flame") parts.set("view", state.view);
    if (state.measure !== usual) parts.set("of", state.measure);
    if (state.category) parts.set("category", state.category);
    if (state.filter) parts.set("filter", state.filter);
    if (state.jvm) parts.set("jvm", "1");
    if (state.jdk) parts.set("jdk", "1");
    if (state.range) parts.set("range", `${(state.range.from / SECOND).toFixed(3)}-${(state.range.to / SECOND).toFixed(3)}`);
    for (const name of state.zoom) parts.append("zoom", name);
    return parts.toString();
  }

  function save() {
    saved = hash();
    history.replaceState(null, "", saved ? `#${saved}` : location.pathname + location.search);
  }

  function load(text = location.hash.slice(1)) {
    const parts = new URLSearchParams(text);
    const view = parts.get("view") ?? "flame";
    const measure = parts.get("of") ?? usual;
    state.view = VIEWS.includes(view) ? view : "flame";
    state.measure = measure in measures ? measure : usual;
    state.category = parts.get("category") ?? "";
    state.filter = parts.get("filter") ?? "";
    state.jvm = parts.has("jvm");
    state.jdk = parts.has("jdk");
    state.zoom = parts.getAll("zoom");
    const range = parts.get("range")?.match(/^([\d.]+)-([\d.]+)$/);
    state.range = range ? { from: Number(range[1]) * SECOND, to: Number(range[2]) * SECOND } : null;
    [input("measure").value, input("category").value, input("filter").value] = [state.measure, state.category, state.filter];
    [input("jvm").checked, input("jdk").checked] = [state.jvm, state.jdk];
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const typing = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
    if (event.key === "Escape") {
      input("search").value = "";
      state.range = null;
      /** @type {HTMLElement} */ (document.activeElement)?.blur();
      update();
    } else if (typing) {
      if (event.key === "Enter" && event.target === byId("search")) graph.step(1);
      return;
    } else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "/") byId("search").focus();
    else if (event.key === "n") graph.step(1);
    else if (event.key === "N") graph.step(-1);
    else if (event.key === "0") graph.reset();
    else if (event.key === "i") { state.view = state.view === "inverted" ? "flame" : "inverted"; state.zoom = []; update(); }
    else if (event.key === "?") byId("help").toggleAttribute("hidden");
    else if (/^[1-9]$/.test(event.key) && VIEWS[Number(event.key) - 1]) { state.view = VIEWS[Number(event.key) - 1]; update(); }
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
  byId("found-lines").append(note(`This page cannot be shown: ${error}. It needs a browser of 2023 or later.`, "bad"));
});
