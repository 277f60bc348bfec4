// @ts-check
// Views that are tables: sites, categories, threads, compiled code, censuses, the balance of memory, data quality.

import { element, note, table } from "./dom.js";
import { bytes, count, duration, more, rate, share } from "./format.js";
import { momentAt, partsOf, total } from "./parts.js";
import { factTable } from "./diff.js";
import { changeOf, frameName, valueOf } from "./model.js";

/** @typedef {import("./data.js").Report} Report */
/** @typedef {import("./model.js").Look} Look */

const ROWS = 200;
const known = (/** @type {number | null | undefined} */ size) => (size === null || size === undefined ? "not known" : bytes(size));
const number = (/** @type {number | null | undefined} */ value) => (value === null || value === undefined ? "not known" : count(value));

/** @param {Report} report @param {number[]} sites @param {Look} look */
export function siteTable(report, sites, look) {
  const { columns, strings, facts } = report;
  const isDiff = facts.kind === "diff";
  const rows = sites.slice(0, ROWS).map((site) => {
    const owner = columns.site_owner[site];
    const leaf = columns.site_leaf[site];
    const numbers = isDiff
      ? [more(changeOf(report, site)), bytes(columns.base_live_bytes[site]), bytes(columns.site_live_bytes[site])]
      : [count(columns.site_live_count[site]), bytes(columns.site_allocated_bytes[site]), rate(columns.site_growth[site])];
    return [
      bytes(valueOf(report, look, site)), ...numbers, strings[columns.site_category[site]], strings[columns.site_verdict[site]],
      owner >= 0 ? frameName(report, owner) : "", leaf >= 0 ? frameName(report, report.nodeFrame[leaf]) : "",
    ];
  });
  const left = sites.length - rows.length;
  return element("div", {},
    table("Call paths, those that hold most first", ["#bytes", ...(isDiff ? ["#change", "#base", "#new"] : ["#not freed", "#allocated", "#grew"]), "category", "verdict", "line", "leaf"], rows),
    left > 0 ? note(`${count(left)} more: filter, or choose a category.`) : null);
}

/** @param {any} facts @param {import("./course.js").Range | null} range @param {(id: string) => void} choose */
export function categoryTable(facts, range, choose) {
  const rows = facts.categories.map((/** @type {any} */ row) => {
    const name = row.source === facts.source
      ? element("button", { type: "button", class: "link", click: () => choose(row.id) }, row.id)
      : row.id;
    const evidence = row.verdict ? row.verdict.evidence : "";
    return [name, row.source, bytes(row.live_bytes), count(row.live_count), bytes(row.allocated_bytes), row.growth_bytes_per_s === null ? "not known" : rate(row.growth_bytes_per_s),
      range ? change(facts, row, range) : "", row.verdict ? row.verdict.kind : "", evidence];
  });
  const heads = ["category", "source", "#not freed", "#count", "#allocated", "#grew", range ? "#in the range" : "#", "verdict", "why"];
  return table("Categories", heads, rows);
}

/** How much more was live at a range's end than at its begin. @param {any} facts @param {any} row @param {{from: number, to: number}} range */
function change(facts, row, range) {
  const course = (row.source === "mapping" ? facts.series.mappings : facts.series.categories)[row.id];
  if (!course) return "not known";
  const at = (/** @type {number} */ time) => {
    const index = facts.series.times_ns.findLastIndex((/** @type {number} */ moment) => moment <= time);
    return course.live_bytes[Math.max(0, index)] ?? 0;
  };
  return more(at(range.to) - at(range.from));
}

/** @param {any} facts */
export function threadTables(facts) {
  const { threads } = facts;
  const names = threads.names.slice(0, ROWS).map((/** @type {any} */ row) => [row.pattern, count(row.live), count(row.started), count(row.exited), bytes(row.stack_reserved_bytes), bytes(row.stack_resident_bytes)]);
  const creators = threads.creators.slice(0, ROWS).map((/** @type {any} */ row) => [row.owner ?? "no line of the application", count(row.count), count(row.live), bytes(row.stack_reserved_bytes), bytes(row.stack_resident_bytes)]);
  const cached = threads.cached_stacks;
  return element("div", {},
    note(`${count(threads.live)} live at the end, ${count(threads.started)} started and ${count(threads.exited)} ended in the session. Their stacks: ${known(threads.stack_resident_bytes)} in memory of ${known(threads.stack_reserved_bytes)} reserved.${cached ? ` The C library keeps ${count(cached.count)} stacks of ended threads, ${bytes(cached.resident_bytes)} in memory.` : ""}`),
    creators.length ? table("By who started them", ["line", "#started", "#live", "#reserved", "#in memory"], creators) : note("No thread was started in the session."),
    table("By name", ["name (# is any number)", "#live", "#started", "#ended", "#reserved", "#in memory"], names));
}

/** @param {any} facts */
export function codeTables(facts) {
  const code = facts.code_cache;
  if (!code.heaps.length && !code.methods.length) return note("The code cache was not read: the process is no JVM, or it was gone at the end.");
  const heaps = code.heaps.map((/** @type {any} */ heap) => [heap.name, known(heap.used_bytes), known(heap.committed_bytes), known(heap.reserved_bytes)]);
  const methods = code.methods.slice(0, ROWS).map((/** @type {any} */ row) => [bytes(row.bytes), row.tier ?? "", row.method]);
  const generated = code.generated.slice(0, ROWS).map((/** @type {any} */ row) => [bytes(row.bytes), count(row.count ?? 0), row.pattern ?? row.class ?? "", row.owner ? row.owner.function : "nobody in the session"]);
  return element("div", {},
    table("Heaps of the code cache", ["heap", "#used", "#committed", "#reserved"], heaps),
    methods.length ? table("Compiled methods, the largest first", ["#bytes", "tier", "method"], methods) : null,
    generated.length ? table("Code of generated classes", ["#bytes", "#methods", "classes", "who had them defined"], generated) : null);
}

/** The balance at the end, and how its parts went. @param {any} facts @param {import("./course.js").Range | null} range */
export function memoryTable(facts, range) {
  const { memory } = facts;
  const rows = memory.parts.map((/** @type {any} */ part) => [part.name, known(part.resident_bytes), share(part.resident_bytes ?? 0, memory.rss_bytes ?? 0), known(part.committed_bytes), known(part.reserved_bytes)]);
  const limit = memory.limit_bytes ? ` The limit of its control group is ${bytes(memory.limit_bytes)}, of which the group uses ${known(memory.limit_used_bytes)}.` : "";
  return element("div", {},
    note(memory.time_ns === null ? "The memory was not looked at as a whole." : `${known(memory.rss_bytes)} in memory (RSS) when it was last looked at, after ${duration(memory.time_ns)}.${limit}`),
    courseTable(facts, range),
    table("What is in memory at the end, by part", ["part", "#in memory", "#of RSS", "#committed", "#reserved"], rows),
    limitTable(facts));
}

/** What each part had at the start and the end, of the recording or of a range. @param {any} facts @param {import("./course.js").Range | null} range */
function courseTable(facts, range) {
  const { parts, moments } = partsOf(facts);
  const [from, to] = range ? [momentAt(moments, range.from), momentAt(moments, range.to)] : [moments[0], moments.at(-1)];
  if (!from || from === to) return note("How it went is not in this recording: it was looked at once, or not at all.");
  const row = (/** @type {string} */ name, /** @type {(moment: any) => number} */ of) => [name, bytes(of(from)), bytes(of(to)), more(of(to) - of(from))];
  const rows = [...parts.map((part) => row(part.name, part.of)), row("all", total)];
  return table("How it went", ["part", `#at ${duration(from.time_ns)}`, `#at ${duration(to.time_ns)}`, "#change"], rows);
}

/** What the process can run into, what is met or nearly met first. @param {any} facts @returns {any[]} */
export function limitsOf(facts) {
  const rows = (facts.limits ?? []).filter((/** @type {any} */ row) => row.used !== null && row.limit !== null);
  const part = (/** @type {any} */ row) => row.used / Math.max(1, row.limit);
  return rows.sort((/** @type {any} */ one, /** @type {any} */ other) => part(other) - part(one));
}

/** @param {any} limit @returns {string} `256.0 MiB of 256.0 MiB`, and when it is or was met */
export function limitText(limit) {
  const format = limit.unit === "bytes" ? bytes : count;
  const when = limit.reached_ns !== null ? `, full since ${duration(limit.reached_ns)}` : limit.seconds_left !== null ? `, met in ${duration(limit.seconds_left * 1e9)} if it goes on growing so` : "";
  const hits = limit.hits ? `, met ${count(limit.hits)} times` : "";
  return `${format(limit.used)} of ${format(limit.limit)}${when}${hits}`;
}

/** @param {any} facts */
function limitTable(facts) {
  const rows = limitsOf(facts).map((limit) => [limit.id, limitText(limit), share(limit.used, limit.limit), limit.set_by ?? ""]);
  return rows.length ? table("Limits", ["limit", "used", "#of it", "set by"], rows) : note("Limits are not in this recording.");
}

/** @param {any} facts */
export function censusTable(facts) {
  const { begin, end, unknown } = facts.census;
  if (!begin && !end) return note(`There is no census: ${Object.entries(unknown ?? {}).map(([moment, why]) => `${moment}: ${why}`).join("; ") || "the recording has none"}.`);
  const findings = (end ?? begin).findings ?? [];
  return element("div", {},
    ...findings.map((/** @type {any} */ finding) => note(`${finding.evidence}${finding.advice ? `. ${finding.advice}` : ""}`, "finding")),
    factTable(facts.census_facts, "What the process's memory and the JVM's statistics said", ["at the start", "at the end"]));
}

/** @param {any} facts */
export function quality(facts) {
  const { trust, session } = facts;
  const lost = Object.entries(trust.lost).map(([reason, times]) => [reason, count(times)]);
  const early = trust.incomplete.slice(0, ROWS).map((/** @type {any} */ row) => [row.reason, row.module ?? "", count(row.stack_count), count(row.allocated_count), bytes(row.allocated_bytes)]);
  const cost = session.overhead_percent_of_cpu === null ? "not measured" : `${session.overhead_percent_of_cpu} % of a CPU`;
  return element("div", {},
    note(session.ended === null ? "The recording was not finished: it is whole up to its last second only." : `The recording ended: ${session.ended}.`),
    note(session.sample_bytes === null ? "Every allocation was recorded." : `About one allocation in ${bytes(session.sample_bytes)} was recorded: numbers are estimates.`),
    note(session.probes === "light" ? "malloc was not watched: zlib's streams and the JDK's own native memory are counted." : `Stacks: ${count(trust.stacks_complete)} of ${count(trust.stacks_total)} walks (${share(trust.stacks_complete, trust.stacks_total)}) reached their thread's entry. Cost: ${cost}.`),
    trust.unmatched_frees ? note(`${number(trust.unmatched_frees)} older blocks were freed too (normal).`) : null,
    ...session.steps.map((/** @type {any} */ step) => note(`from ${duration(step.time_ns)}: ${step.text}`)),
    ...trust.notes.map((/** @type {string} */ text) => note(text)),
    lost.length ? table("Lost", ["reason", "#times"], lost) : note("Nothing was lost."),
    early.length ? table("Stacks that end early", ["why", "in", "#stacks", "#allocations", "#bytes"], early) : null);
}
