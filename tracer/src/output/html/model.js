// @ts-check
// What is looked at: which sites pass, what each has of a measure, and lines. Pure.

import { inRange } from "./course.js";

/** @typedef {import("./data.js").Report} Report */
/**
 * @typedef {object} Look
 * @property {string} measure one of `MEASURES`, or of `DIFFERENCES`
 * @property {string} category "": all
 * @property {RegExp | null} filter of a function or module anywhere in a stack
 * @property {boolean} jvm show frames of the JVM
 * @property {boolean} jdk show frames of the JDK
 * @property {Float64Array | null} held by chosen threads, by site; null: all threads
 * @property {import("./course.js").Moments | null} moments of a range; null: the whole time
 */

/** Measures of a report, with their names. */
export const MEASURES = { live: "not freed", allocated: "allocated", temporary: "allocated and freed", peak: "at the peak" };
/** Measures of what differs. */
export const DIFFERENCES = { either: "in either (red grew, blue shrank)", grew: "more", shrank: "less", live: "not freed, new", base: "not freed, base" };

/** How much more the new one has. @param {Report} report @param {number} site @returns {number} bytes */
export function changeOf({ columns }, site) {
  return columns.site_live_bytes[site] - columns.base_live_bytes[site];
}

/** @param {Report} report @param {Look} look @param {number} site @returns {number} bytes */
export function valueOf(report, look, site) {
  const { columns } = report;
  if (look.held) return look.held[site];
  if (look.moments) return inRange(report, look.measure, site, look.moments);
  const live = columns.site_live_bytes[site];
  switch (look.measure) {
    case "allocated": return columns.site_allocated_bytes[site];
    case "temporary": return columns.site_allocated_bytes[site] - live;
    case "peak": return columns.site_peak_bytes[site];
    case "base": return columns.base_live_bytes[site];
    case "either": return Math.max(live, columns.base_live_bytes[site]);
    case "grew": return Math.max(0, changeOf(report, site));
    case "shrank": return Math.max(0, -changeOf(report, site));
    default: return live;
  }
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
  const { parent, nodeFrame } = report;
  for (let node = report.columns.site_leaf[site]; node >= 0; node = parent[node]) stack.push(nodeFrame[node]);
  return stack.reverse();
}

/** Patterns of names of the threads that hold something, those that hold most first. @param {Report} report @returns {string[]} */
export function threadsOf({ columns, strings }) {
  /** @type {Map<number, number>} */
  const sums = new Map();
  columns.held_thread?.forEach((name, at) => sums.set(name, (sums.get(name) ?? 0) + columns.held_bytes[at]));
  return [...sums].sort((one, other) => other[1] - one[1]).map(([name]) => strings[name]);
}

/** What threads of such names hold. @param {Report} report @param {string} thread a pattern; "": all @returns {Float64Array | null} bytes by site */
export function heldBy({ columns, strings, siteCount, held }, thread) {
  if (!thread || !columns.held_thread) return null;
  let bytes = held.get(thread);
  if (!bytes) {
    bytes = new Float64Array(siteCount);
    for (let at = 0; at < columns.held_site.length; at += 1) {
      if (strings[columns.held_thread[at]] === thread) bytes[columns.held_site[at]] += columns.held_bytes[at];
    }
    held.set(thread, bytes);
  }
  return bytes;
}

/** The sites that pass, those with most first. @param {Report} report @param {Look} look @returns {number[]} */
export function sitesOf(report, look) {
  const { columns, strings } = report;
  const matches = look.filter ? matching(report, look.filter) : null;
  const sites = [];
  const values = new Float64Array(report.siteCount);
  for (let site = 0; site < report.siteCount; site += 1) {
    values[site] = valueOf(report, look, site);
    if (values[site] <= 0) continue;
    if (look.category && strings[columns.site_category[site]] !== look.category) continue;
    if (matches && !matches(columns.site_leaf[site])) continue;
    sites.push(site);
  }
  return sites.sort((one, other) => values[other] - values[one]);
}

/** Does a node, or one above it, match? @param {Report} report @param {RegExp} filter @returns {(node: number) => boolean} */
function matching(report, filter) {
  const { columns, strings, parent, nodeFrame } = report;
  const frames = Uint8Array.from(columns.frame_function, (name, frame) =>
    filter.test(strings[name]) || filter.test(strings[columns.frame_module[frame]]) ? 1 : 0);
  const nodes = new Uint8Array(parent.length);
  for (let node = 0; node < nodes.length; node += 1) {
    nodes[node] = frames[nodeFrame[node]] || (parent[node] >= 0 && nodes[parent[node]]) ? 1 : 0;
  }
  return (node) => node >= 0 && nodes[node] === 1;
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
 * @property {number} count NaN: not known
 * @property {number} allocated NaN: not known
 * @property {number} mapped in memory, and no part of live
 * @property {number | null} resident of live
 * @property {number | null} growth
 * @property {number} growthCount a second
 * @property {string} verdict
 * @property {string} proof
 * @property {string} evidence
 * @property {string} advice
 * @property {string[]} threads
 * @property {[number, number, number][] | null} sizes of a class: the least, bytes and allocations that are not freed
 * @property {{text: string, ways: {state: string, path: string, bytes: number, count: number}[], more: number} | null} holders who keeps it
 * @property {number[] | null} course
 */

/**
 * The findings as the report has them, then all other rows by line; each with those of its sites that pass.
 * @param {Report} report @param {number[]} sites @param {Look} look @param {boolean} isWhole nothing is filtered @returns {Line[]}
 */
export function linesOf(report, sites, look, isWhole) {
  const { columns, facts } = report;
  /** @type {number[][]} */
  const passing = facts.by_line.map(() => []);
  for (const site of sites) passing[columns.site_line[site]]?.push(site);
  /** @type {Set<number>} */
  const told = new Set();
  /** @type {Line[]} */
  const lines = facts.findings.map((/** @type {any} */ finding) => {
    for (const row of finding.by_line) told.add(row);
    const line = lineOf(report, finding.by_line, passing, look, finding);
    if (isWhole) Object.assign(line, { live: finding.live_bytes, count: finding.live_count, growth: finding.growth_bytes_per_s, mapped: finding.mapped_bytes });
    return line;
  }).filter((/** @type {Line} */ line) => isWhole || line.sites.length);
  facts.by_line.forEach((/** @type {any} */ row, /** @type {number} */ at) => {
    if (!told.has(at) && passing[at].length) lines.push(lineOf(report, [at], passing, look, { ...row, isRow: true }));
  });
  return lines;
}

/** @param {Report} report @param {number[]} rows @param {number[][]} passing @param {Look} look @param {any} told @returns {Line} */
function lineOf(report, rows, passing, look, told) {
  const { columns, facts } = report;
  const sites = rows.flatMap((row) => passing[row] ?? []);
  const sum = (/** @type {string} */ name) => (look.held ? NaN : sites.reduce((all, site) => all + columns[name][site], 0));
  const resident = rows.map((row) => facts.by_line[row].resident_bytes);
  return {
    key: `${told.what}\n${told.name}`, name: told.name, what: told.what, isFinding: !told.isRow, sites,
    live: sites.reduce((all, site) => all + valueOf(report, look, site), 0), count: sum("site_live_count"), allocated: sum("site_allocated_bytes"), mapped: 0,
    resident: resident.length && !look.held && resident.every((bytes) => typeof bytes === "number") ? resident.reduce((all, bytes) => all + bytes, 0) : null,
    growth: told.growth_bytes_per_s ?? null, growthCount: told.growth_count_per_s ?? 0,
    verdict: told.verdict?.kind ?? "", proof: told.verdict?.proof ?? "", evidence: told.verdict?.evidence ?? "", advice: told.verdict?.advice ?? "",
    threads: [...new Set(rows.flatMap((row) => facts.by_line[row].threads))],
    sizes: look.held ? null : sizesOf(rows.map((row) => facts.by_line[row].sizes)),
    holders: told.holders ?? null, course: told.course ?? null,
  };
}

/** Classes of sizes of several rows. @param {([number, number, number][] | null | undefined)[]} rows @returns {[number, number, number][] | null} */
function sizesOf(rows) {
  /** @type {Map<number, [number, number, number]>} */
  const sums = new Map();
  for (const row of rows) {
    if (!row) return null;
    for (const [least, bytes, count] of row) {
      const sum = sums.get(least) ?? [least, 0, 0];
      sums.set(least, [least, sum[1] + bytes, sum[2] + count]);
    }
  }
  return sums.size ? [...sums.values()].sort((one, other) => one[0] - other[0]) : null;
}

/** Is it something to look at? @param {Line} line */
export const isFinding = (line) => line.isFinding;

/** How sure it is, in words. @param {string} kind of a verdict @param {string} proof */
export function sureOf(kind, proof) {
  switch (kind) {
    case "leak": return "leak";
    case "gc-pending": return proof === "none" ? "unproven" : "gc-pending";
    case "retention": return "kept by malloc";
    case "too-short": return "seen too short";
    case "": return "not told";
    default: return "ok";
  }
}
