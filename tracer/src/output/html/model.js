// @ts-check
// What is looked at: which sites pass, what each node has of a measure, lines, and the tree the other way round. Pure.

/** @typedef {import("./data.js").Report} Report */
/**
 * @typedef {object} Look
 * @property {string} measure a column of sites
 * @property {string} category "": all
 * @property {RegExp | null} filter of a function or module anywhere in a stack
 * @property {boolean} jvm show frames of the JVM
 * @property {boolean} jdk show frames of the JDK
 */

/** Matches that can be gone through, at most. */
const SEARCHED = 200;

/** Measures by name, with their columns. */
export const MEASURES = /** @type {const} */ ({
  live: { column: "site_live_bytes", count: "site_live_count", name: "not freed" },
  allocated: { column: "site_allocated_bytes", count: "site_allocated_count", name: "allocated" },
  temporary: { column: "", count: "", name: "temporary" },
  peak: { column: "site_peak_bytes", count: "site_live_count", name: "at the peak" },
});

/** @param {Report} report @param {string} measure @param {number} site @returns {number} bytes */
export function valueOf(report, measure, site) {
  const { columns } = report;
  if (measure === "temporary") return columns.site_allocated_bytes[site] - columns.site_live_bytes[site];
  return columns[MEASURES[/** @type {"live"} */ (measure)].column][site];
}

/** @param {Report} report @param {number} frame @returns {string} */
export function frameName(report, frame) {
  const line = report.columns.frame_line[frame];
  const name = report.strings[report.columns.frame_function[frame]];
  return line > 0 ? `${name}:${line}` : name;
}

/** The frames of a site, root first. @param {Report} report @param {number} site @returns {number[]} */
export function stackOf(report, site) {
  /** @type {number[]} */
  const stack = [];
  for (let node = report.columns.site_leaf[site]; node >= 0; node = report.parent[node]) stack.push(report.nodeFrame[node]);
  return stack.reverse();
}

/** The sites that pass, those with most first. @param {Report} report @param {Look} look @returns {number[]} */
export function sitesOf(report, look) {
  const { columns, strings } = report;
  const matches = look.filter ? matching(report, look.filter) : null;
  const sites = [];
  for (let site = 0; site < report.siteCount; site += 1) {
    if (valueOf(report, look.measure, site) <= 0) continue;
    if (look.category && strings[columns.site_category[site]] !== look.category) continue;
    if (matches && !matches(columns.site_leaf[site])) continue;
    sites.push(site);
  }
  return sites.sort((one, other) => valueOf(report, look.measure, other) - valueOf(report, look.measure, one));
}

/** Does a node, or one above it, match? @param {Report} report @param {RegExp} filter @returns {(node: number) => boolean} */
function matching(report, filter) {
  const { columns, strings } = report;
  const frames = Uint8Array.from(columns.frame_function, (name, frame) =>
    filter.test(strings[name]) || filter.test(strings[columns.frame_module[frame]]) ? 1 : 0);
  const nodes = new Uint8Array(report.parent.length);
  for (let node = 0; node < nodes.length; node += 1) {
    const parent = report.parent[node];
    nodes[node] = frames[report.nodeFrame[node]] || (parent >= 0 && nodes[parent]) ? 1 : 0;
  }
  return (node) => node >= 0 && nodes[node] === 1;
}

/** Is a frame of this kind left out? @param {Look} look @param {number} kind */
const isFolded = (look, kind) => (kind === 1 && !look.jdk) || (kind === 2 && !look.jvm);

/**
 * What is shown of the stacks of sites, one after the other. A leaf is never left out, so that every byte is seen; a
 * method that calls itself is there once.
 * @typedef {{report: Report, sites: number[], values: Float64Array, frames: Int32Array, begins: Int32Array}} Stacks
 */

/** @param {Report} report @param {number[]} sites @param {Look} look @param {boolean} inverted @returns {Stacks} */
export function stacksOf(report, sites, look, inverted) {
  const kinds = report.columns.frame_kind;
  const begins = new Int32Array(sites.length + 1);
  let frames = new Int32Array(sites.length * 24 + 2048);
  let length = 0;
  sites.forEach((site, at) => {
    let last = -1;
    const leaf = report.columns.site_leaf[site];
    for (let node = leaf; node >= 0; node = report.parent[node]) {
      const frame = report.nodeFrame[node];
      if (frame === last || (node !== leaf && isFolded(look, kinds[frame]))) continue;
      if (length === frames.length) {
        const larger = new Int32Array(length * 2);
        larger.set(frames);
        frames = larger;
      }
      frames[length] = last = frame;
      length += 1;
    }
    if (!inverted) frames.subarray(begins[at], length).reverse();
    begins[at + 1] = length;
  });
  return { report, sites, values: Float64Array.from(sites, (site) => valueOf(report, look.measure, site)), frames, begins };
}

/** A function below its callers (or above, inverted). What is below it is worked out when it is asked for. */
export class Node {
  /** @type {Node[] | null} */
  #children = null;

  /** @param {Stacks} stacks @param {number} frame -1: the root @param {Node | null} parent @param {number} level frames of a stack above those below it */
  constructor(stacks, frame, parent, level) {
    this.stacks = stacks;
    this.parent = parent;
    this.level = level;
    this.name = frame < 0 ? "all" : frameName(stacks.report, frame);
    this.kind = frame < 0 ? -1 : stacks.report.columns.frame_kind[frame];
    this.value = 0;
    this.own = 0;
    /** Rows that are below it, with itself. */
    this.depth = 1;
    /** @type {number[]} stacks through it, by their place among the sites */
    this.through = [];
  }

  /** @param {number} at a stack */
  add(at) {
    const left = this.stacks.begins[at + 1] - this.stacks.begins[at] - this.level;
    this.value += this.stacks.values[at];
    if (left === 0) this.own += this.stacks.values[at];
    this.depth = Math.max(this.depth, left + 1);
    this.through.push(at);
  }

  /** Those that have most first. */
  get children() {
    if (this.#children) return this.#children;
    const { begins, frames } = this.stacks;
    /** @type {Map<number, Node>} */
    const below = new Map();
    for (const at of this.through) {
      const place = begins[at] + this.level;
      if (place >= begins[at + 1]) continue;
      let child = below.get(frames[place]);
      if (!child) below.set(frames[place], (child = new Node(this.stacks, frames[place], this, this.level + 1)));
      child.add(at);
    }
    this.#children = [...below.values()].sort((one, other) => other.value - one.value || (one.name < other.name ? -1 : 1));
    return this.#children;
  }
}

/** The stacks of sites as a tree. @param {Report} report @param {number[]} sites @param {Look} look @param {boolean} inverted @returns {Node} */
export function treeOf(report, sites, look, inverted) {
  const root = new Node(stacksOf(report, sites, look, inverted), -1, null, 0);
  sites.forEach((_, at) => root.add(at));
  return root;
}

/**
 * What matches: how many frames, how much is on stacks with them, and where the largest of them are.
 * @param {Node} tree @param {RegExp} text @returns {{frames: number, value: number, found: Node[]}}
 */
export function searched(tree, text) {
  const { report, frames, begins, values } = tree.stacks;
  const hits = Uint8Array.from(report.columns.frame_function, (_, frame) => (text.test(frameName(report, frame)) ? 1 : 0));
  /** @type {Set<Node>} */
  const found = new Set();
  const names = new Set();
  let value = 0;
  values.forEach((size, at) => {
    const stack = frames.subarray(begins[at], begins[at + 1]);
    const first = stack.findIndex((frame) => hits[frame] === 1);
    if (first < 0) return;
    value += size;
    for (const frame of stack) if (hits[frame]) names.add(frame);
    if (found.size >= SEARCHED) return;
    /** @type {Node | undefined} */
    let node = tree;
    for (const frame of stack.subarray(0, first + 1)) node = node?.children.find((child) => child.name === frameName(report, frame));
    if (node) found.add(node);
  });
  return { frames: names.size, value, found: [...found].sort((one, other) => other.value - one.value) };
}

/**
 * A finding, or a row by line.
 * @typedef {object} Line
 * @property {string} key
 * @property {string} name
 * @property {string} what categories, kind
 * @property {boolean} isFinding
 * @property {number[]} sites those that pass, with most first
 * @property {number} live
 * @property {number} count
 * @property {number} allocated
 * @property {number} mapped in memory, and no part of live
 * @property {number | null} resident of live
 * @property {number | null} growth
 * @property {string} verdict
 * @property {string} proof
 * @property {string} evidence
 * @property {string} advice
 * @property {string[]} threads
 */

/**
 * The findings as the report has them, then all other rows by line; each with those of its sites that pass.
 * @param {Report} report @param {number[]} sites @param {boolean} isWhole nothing is filtered @returns {Line[]}
 */
export function linesOf(report, sites, isWhole) {
  const { columns, facts } = report;
  /** @type {number[][]} */
  const passing = facts.by_line.map(() => []);
  for (const site of sites) passing[columns.site_line[site]]?.push(site);
  /** @type {Set<number>} */
  const told = new Set();
  /** @type {Line[]} */
  const lines = facts.findings.map((/** @type {any} */ finding) => {
    for (const row of finding.by_line) told.add(row);
    const line = lineOf(report, finding.by_line, passing, finding);
    if (isWhole) Object.assign(line, { live: finding.live_bytes, count: finding.live_count, growth: finding.growth_bytes_per_s, mapped: finding.mapped_bytes });
    return line;
  }).filter((/** @type {Line} */ line) => isWhole || line.sites.length);
  facts.by_line.forEach((/** @type {any} */ row, /** @type {number} */ at) => {
    if (!told.has(at) && passing[at].length) lines.push(lineOf(report, [at], passing, { ...row, isRow: true }));
  });
  return lines;
}

/** @param {Report} report @param {number[]} rows @param {number[][]} passing @param {any} told @returns {Line} */
function lineOf(report, rows, passing, told) {
  const { columns, facts } = report;
  const sites = rows.flatMap((row) => passing[row] ?? []);
  const sum = (/** @type {string} */ name) => sites.reduce((all, site) => all + columns[name][site], 0);
  const resident = rows.map((row) => facts.by_line[row].resident_bytes);
  return {
    key: `${told.what}\n${told.name}`, name: told.name, what: told.what, isFinding: !told.isRow, sites,
    live: sum("site_live_bytes"), count: sum("site_live_count"), allocated: sum("site_allocated_bytes"), mapped: 0,
    resident: resident.length && resident.every((bytes) => bytes !== null) ? resident.reduce((all, bytes) => all + bytes, 0) : null,
    growth: told.growth_bytes_per_s ?? null,
    verdict: told.verdict?.kind ?? "", proof: told.verdict?.proof ?? "", evidence: told.verdict?.evidence ?? "", advice: told.verdict?.advice ?? "",
    threads: [...new Set(rows.flatMap((row) => facts.by_line[row].threads))],
  };
}

/** Is it something to look at? @param {Line} line */
export const isFinding = (line) => line.isFinding;
