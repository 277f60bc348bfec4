// @ts-check
// What it is of, and what was found: the first thing that is read.

import { byId, element } from "./dom.js";
import { bytes, count, counted, duration, more, rate } from "./format.js";

/** @param {string} text @param {boolean} isBad */
function headline(text, isBad) {
  return element("p", { class: isBad ? "bad" : "good" }, element("span", { "aria-hidden": "true" }, isBad ? "\u26a0 " : "\u2713 "), text);
}

/** @param {any} target */
const jvm = (target) => (target.jvm ? `JDK ${target.jvm.version?.split(/[+-]/)[0] ?? "?"}${target.jvm.gc ? `, ${target.jvm.gc}` : ""}` : "no JVM");
/** `2026-11-30 11:54:24 UTC` @param {any} session @returns {string} */
const began = (session) => session.started.replace(/^(\S+)T(\d+:\d+:\d+)(\.\d+)?Z$/, "$1 $2 UTC");

/** Limits that are met first, then findings, or why there are none. @param {any} facts */
export function heading(facts) {
  const { target, session, totals, findings } = facts;
  const container = target.container ? `, container ${target.container.slice(0, 12)}` : "";
  const pid = target.pid ? `pid ${target.pid}, ` : "";
  byId("who").append(element("h1", {}, facts.program), element("p", {}, `${pid}${jvm(target)}, ${began(session)}, ${duration(session.duration_ns)}${container}`));
  const sum = (/** @type {string} */ name) => findings.reduce((/** @type {number} */ all, /** @type {any} */ it) => all + (it[name] ?? 0), 0);
  const held = sum("live_bytes") ? `${bytes(sum("live_bytes"))} not freed` : `${bytes(sum("mapped_bytes"))} mapped`;
  const growth = sum("growth_bytes_per_s") > 0 ? `, ${rate(sum("growth_bytes_per_s"))}` : "";
  const found = findings.length ? headline(`${counted(findings.length, "finding")}: ${held}${growth}.`, true) : headline(facts.why, !facts.healthy);
  const sampled = session.sample_bytes === null ? "" : " (estimates: sampled)";
  const source = facts.source === "mapping" ? "mapped" : "allocated";
  byId("found-lines").append(
    ...facts.met.map((/** @type {string} */ text) => headline(`LIMIT ${text}`, true)), found,
    ...facts.filtered.map((/** @type {string} */ text) => element("p", {}, text)),
    element("p", {}, `${facts.resident.replace("->", "\u2192")}. ${bytes(totals.live_bytes)} of ${bytes(totals.allocated_bytes)} ${source} in the recording were not freed${sampled}.`),
    element("p", { class: "note" }, `Data quality: ${facts.quality}.`));
}

/** Both sides, and how much more there is. @param {any} facts */
export function diffHeading(facts) {
  const side = (/** @type {string} */ name, /** @type {any} */ it) =>
    element("p", {}, element("b", {}, `${name}: `), `${it.file ?? ""} ${it.target.pid ? `pid ${it.target.pid}, ` : ""}${jvm(it.target)}, ${began(it.session)}, ${duration(it.session.duration_ns)}`);
  byId("who").append(element("h1", {}, `${facts.program}: what differs`), side("base", facts.base), side("new", facts.new));
  const { base, new: now, difference } = facts.totals;
  const rates = facts.rates.live_bytes_per_s;
  const whole = `${more(difference.live_bytes)} not freed: ${bytes(base.live_bytes)} \u2192 ${bytes(now.live_bytes)}`;
  const each = `${rate(rates.difference ?? NaN)} not freed: ${pair(rates, bytes)} each second`;
  // Recordings of different lengths are compared by what came in a second.
  const [first, then] = facts.by_time ? [each, whole] : [whole, each];
  byId("found-lines").append(
    headline(`${first}.`, (facts.by_time ? rates.difference : difference.live_bytes) > 0),
    element("p", {}, `${then}; allocations left: ${count(base.live_count)} \u2192 ${count(now.live_count)}. Resident: ${pair(facts.memory.rss_bytes, bytes)}.`),
    ...[...facts.notes, ...facts.filtered].map((/** @type {string} */ text) => element("p", {}, text)));
}

/** `1 B \u2192 2 B`. @param {{base: number | null, new: number | null}} numbers @param {(value: number) => string} format */
export function pair({ base, new: now }, format) {
  const known = (/** @type {number | null} */ value) => (value === null ? "not known" : format(value));
  return base === now ? known(base) : `${known(base)} \u2192 ${known(now)}`;
}
