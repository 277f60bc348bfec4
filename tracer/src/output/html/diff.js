// @ts-check
// Views of what differs between two recordings: lines, categories, threads, code, memory, censuses.

import { element, note, table } from "./dom.js";
import { bytes, count, more } from "./format.js";
import { sureOf } from "./model.js";

/** @typedef {{base: number | null, new: number | null, difference: number | null}} Pair */

const SIDE_ROWS = 200;
const plus = (/** @type {number} */ value) => (value > 0 ? `+${count(value)}` : count(value));

/** Base, new and change. @param {Pair} numbers @param {boolean} [areCounts] @returns {string[]} */
function cells(numbers, areCounts = false) {
  const [format, changed] = areCounts ? [count, plus] : [bytes, more];
  const known = (/** @type {number | null} */ value, /** @type {(value: number) => string} */ as) => (value === null ? "not known" : as(value));
  return [known(numbers.base, format), known(numbers.new, format), known(numbers.difference, changed)];
}

/** @param {any} totals @param {string} name @returns {Pair} */
const of = (totals, name) => ({ base: totals.base[name], new: totals.new[name], difference: totals.difference[name] });
const differs = (/** @type {Pair} */ numbers) => numbers.base !== numbers.new;

/** @param {{base: string | null, new: string | null}} verdict */
function verdictText(verdict) {
  const [base, now] = [verdict.base, verdict.new].map((kind) => kind && sureOf(kind, ""));
  if (base && now) return base === now ? now : `${base} \u2192 ${now}`;
  return now ? `new: ${now}` : base ? "gone" : "";
}

/** Lines, those that changed most first. @param {any} facts @param {boolean} all @param {() => void} showAll */
export function diffLines(facts, all, showAll) {
  const differing = facts.lines.filter((/** @type {any} */ row) => differs(of(row.totals, "live_bytes")));
  const shown = differing.slice(0, all ? differing.length : 12);
  const rows = shown.map((/** @type {any} */ row) => {
    const rates = row.rates.live_bytes_per_s;
    const name = element("span", { class: "name" }, element("b", {}, row.name), element("small", {}, row.what), row.advice ? element("small", { class: "advice" }, `fix: ${row.advice}`) : null);
    return [name, ...cells(of(row.totals, "live_bytes")), ...cells(rates).slice(0, 2), plus(row.totals.difference.live_count), verdictText(row.verdict)];
  });
  const left = differing.length - shown.length;
  if (!rows.length) return note("No line holds more or less.");
  return element("div", {},
    table("What is not freed, by line", ["line that allocates", "#base", "#new", "#change", "#base avg/s", "#new avg/s", "#more left", "verdict"], rows),
    left > 0 ? element("p", { class: "more" }, `${count(left)} more. `, element("button", { type: "button", click: showAll }, "show all")) : null);
}

/** @param {any} facts @param {(id: string) => void} choose */
export function diffCategories(facts, choose) {
  const rows = facts.categories.map((/** @type {any} */ row) => [
    row.source === facts.source ? element("button", { type: "button", class: "link", click: () => choose(row.id) }, row.id) : row.id,
    row.source, ...cells(of(row, "live_bytes")), ...cells(row.rates.live_bytes_per_s).slice(0, 2), plus(row.difference.live_count), verdictText(row.verdict)]);
  return table("Categories", ["category", "source", "#base", "#new", "#change", "#base avg/s", "#new avg/s", "#more left", "verdict"], rows);
}

/** @param {any} facts */
export function diffThreads({ threads }) {
  if (!threads) return note("Threads are not in both.");
  const all = [["live at the end", threads.live], ["started", threads.started], ["ended", threads.exited]].map(([name, numbers]) => [name, ...cells(numbers, true)]);
  const stacks = [["stacks reserved", threads.stack_reserved_bytes], ["stacks in memory", threads.stack_resident_bytes]].map(([name, numbers]) => [name, ...cells(numbers)]);
  const names = threads.names.filter((/** @type {any} */ row) => differs(row.live) || differs(row.started)).slice(0, SIDE_ROWS);
  return element("div", {},
    table("Threads", ["what", "#base", "#new", "#change"], [...all, ...stacks]),
    table("By name: those that live at the end", ["name (# is any number)", "#base", "#new", "#change"], names.map((/** @type {any} */ row) => [row.pattern, ...cells(row.live, true)])));
}

/** @param {any} facts */
export function diffCode({ code_cache: code }) {
  if (!code) return note("The code cache is not in both.");
  const all = [["used", code.used_bytes], ["committed", code.committed_bytes], ["reserved", code.reserved_bytes]].map(([name, numbers]) => [name, ...cells(numbers)]);
  const generated = code.generated.filter((/** @type {any} */ row) => differs(row.bytes)).slice(0, SIDE_ROWS);
  return element("div", {},
    table("Code cache", ["what", "#base", "#new", "#change"], [...all, ["methods", ...cells(code.method_count, true)], ...code.heaps.map((/** @type {any} */ heap) => [heap.name, ...cells(heap.used_bytes)])]),
    generated.length ? table("Code of generated classes", ["classes", "#base", "#new", "#change"], generated.map((/** @type {any} */ row) => [row.pattern, ...cells(row.bytes)])) : null);
}

/** @param {any} facts */
export function diffMemory({ memory }) {
  const rows = memory.parts.map((/** @type {any} */ part) => [part.name, ...cells(part.resident_bytes), cells(part.committed_bytes)[2]]);
  return table("What is in memory, by part", ["part", "#base", "#new", "#change", "#committed"], [["RSS", ...cells(memory.rss_bytes), ""], ...rows]);
}

/**
 * What censuses say on both sides: of two recordings, or of one at its start and end.
 * @param {any[]} facts @param {string} caption @param {[string, string]} sides
 */
export function factTable(facts, caption, sides) {
  const rows = facts.filter((fact) => fact.bytes.base ?? fact.bytes.new ?? fact.count.base ?? fact.count.new).slice(0, 3 * SIDE_ROWS).map((fact) => {
    const areCounts = fact.bytes.base === null && fact.bytes.new === null;
    return [fact.name, ...cells(areCounts ? fact.count : fact.bytes, areCounts)];
  });
  return table(caption, ["what", `#${sides[0]}`, `#${sides[1]}`, "#change"], rows);
}

/** @param {any} facts */
export function diffCensus({ census }) {
  if (!census) return note("One of the recordings has no census of its end.");
  const told = (/** @type {any[]} */ findings, /** @type {string} */ mark) => findings.map((finding) => note(`${mark}: ${finding.evidence}`, mark === "new" ? "finding" : "note"));
  return element("div", {}, ...told(census.new_findings, "new"), ...told(census.gone_findings, "gone"),
    factTable(census.facts, "What malloc's chunks and the JVM's statistics say at the end of each", ["base", "new"]));
}

/** @param {any} facts */
export function diffQuality(facts) {
  const lost = ["base", "new"].flatMap((side) => Object.entries(facts[side].lost).map(([reason, times]) => [side, reason, count(/** @type {number} */ (times))]));
  return element("div", {}, ...facts.notes.map((/** @type {string} */ text) => note(text)), lost.length ? table("Lost", ["recording", "reason", "#times"], lost) : note("Nothing was lost."));
}
