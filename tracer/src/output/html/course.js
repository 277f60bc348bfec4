// @ts-check
// What call paths had at moments: a range of time. Pure.

/** @typedef {import("./data.js").Report} Report */
/** @typedef {{from: number, to: number}} Range nanoseconds since the start */
/** @typedef {{from: number, to: number}} Moments indices */

/** Changes from moment to moment, added up, course by course. @param {ArrayLike<number>} changes @param {number} length of a course @returns {Float64Array} */
export function cumulated(changes, length) {
  const values = new Float64Array(changes.length);
  let sum = 0;
  for (let at = 0; at < values.length; at += 1) {
    if (at % length === 0) sum = 0;
    sum += changes[at];
    values[at] = sum;
  }
  return values;
}

/** The last moments up to both ends of a range. @param {number[]} times @param {Range | null} range @returns {Moments | null} null: no range, or no moments */
export function momentsOf(times, range) {
  if (!range || times.length < 2) return null;
  const at = (/** @type {number} */ time) => Math.max(0, times.findLastIndex((moment) => moment <= time));
  const from = Math.min(at(range.from), times.length - 2);
  return { from, to: Math.max(at(range.to), from + 1) };
}

/**
 * What a call path has of a measure in a range: what it grew by, allocated, or freed; or the most that it had.
 * @param {Report} report @param {string} measure @param {number} site @param {Moments} moments @returns {number} bytes
 */
export function inRange(report, measure, site, { from, to }) {
  const { columns, live, allocated } = report;
  const length = report.facts.times_ns.length;
  const begin = columns.site_course[site] * length;
  if (begin < 0) return 0;
  const grew = live[begin + to] - live[begin + from];
  if (measure === "live") return Math.max(0, grew);
  if (measure === "peak") return live.subarray(begin + from, begin + to + 1).reduce((one, other) => Math.max(one, other), 0);
  const asked = allocated[begin + to] - allocated[begin + from];
  return measure === "allocated" ? asked : Math.max(0, asked - grew);
}

/** How much more a course had at the end of a range. @param {number[] | null | undefined} course @param {Moments} moments @returns {number} NaN: not known */
export function grewIn(course, moments) {
  return course ? course[moments.to] - course[moments.from] : NaN;
}
