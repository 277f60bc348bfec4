// @ts-check
// Resident memory by part, at the moments at which it was looked at. Pure.

/** @typedef {{name: string, of: (moment: any) => number, last: number}} Part */

/** @param {any} moment @returns {number} bytes in memory */
export const total = (moment) => /** @type {number[]} */ (Object.values(moment.resident_bytes)).reduce((sum, size) => sum + size, 0);

/** The nearest. @param {any[]} moments @param {number} time */
export const momentAt = (moments, time) => moments.reduce((best, moment) => (!best || Math.abs(moment.time_ns - time) < Math.abs(best.time_ns - time) ? moment : best), null);

/**
 * The parts, the largest first, with one for the rest, and the moments at which they were looked at.
 * @param {any} facts @param {number} [most] parts @returns {{parts: Part[], moments: any[]}}
 */
export function partsOf(facts, most = Infinity) {
  const moments = facts.memory.series.filter((/** @type {any} */ moment) => Object.keys(moment.resident_bytes).length);
  const names = new Map(facts.memory.parts.map((/** @type {any} */ part) => [part.id, part.name]));
  names.set("malloc-arena", "malloc").set("malloc-mapped", "malloc: large blocks");
  /** @type {Map<string, number>} */
  const largest = new Map();
  for (const moment of moments) {
    for (const [id, size] of Object.entries(moment.resident_bytes)) largest.set(id, Math.max(largest.get(id) ?? 0, size));
  }
  const ids = [...largest].sort((one, other) => other[1] - one[1]).map(([id]) => id);
  const shownCount = ids.length > most ? most - 1 : ids.length;
  const last = moments.at(-1);
  const shown = ids.slice(0, shownCount).map((id) => ({ name: names.get(id) ?? id, of: (/** @type {any} */ moment) => moment.resident_bytes[id] ?? 0 }));
  const rest = ids.slice(shownCount);
  if (rest.length) shown.push({ name: "all else", of: (moment) => rest.reduce((sum, id) => sum + (moment.resident_bytes[id] ?? 0), 0) });
  return { parts: shown.map((part) => ({ ...part, last: last ? part.of(last) : 0 })), moments };
}
