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
  for (let node = report.columns.site_leaf[site]; node >= 0; node = report.parent[node]) stack.push(report.nodeFrame[node]);
  return stack.reverse();
}

/** The sites that pass, those with most first. @param {Report} report @param {Look} look @returns {number[]} */
export function sitesOf(report, look) {
  const { columns, strings } = report;
  const matches = look.filter ? matching(report, look.filter) : null;
  const sites = [];
  for (let site = 0; site < report.siteCount; site += 1) {
    if (valueOf(report, look, site) <= 0) continue;
    if (look.category && strings[columns.site_category[site]] !== look.category) continue;
    if (matches && !matches(columns.site_leaf[site])) continue;
    sites.push(site);
  }
  return sites.sort((one, other) => valueOf(report, look, other) - valueOf(report, look, one));
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
 * @property {number} growthCount a second
 * @property {string} verdict
 * @property {string} proof
 * @property {string} evidence
 * @property {string} advice
 * @property {string[]} threads
 * @property {{text: string, ways: {state: string, path: string, bytes: number, count: number}[], more: number} | null} kept by whom
 * @property {number[] | null} course
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
    growth: told.growth_bytes_per_s ?? null, growthCount: told.growth_count_per_s ?? 0,
    verdict: told.verdict?.kind ?? "", proof: told.verdict?.proof ?? "", evidence: told.verdict?.evidence ?? "", advice: told.verdict?.advice ?? "",
    threads: [...new Set(rows.flatMap((row) => facts.by_line[row].threads))],
    kept: told.kept ?? null, course: told.course ?? null,
  };
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
