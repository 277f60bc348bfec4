// @ts-check
// The report, unpacked: facts, and stacks as a tree in columns.

import { cumulated } from "./course.js";

/**
 * @typedef {object} Report
 * @property {any} facts as in the JSON report
 * @property {string[]} strings
 * @property {Record<string, Int32Array | Float64Array>} columns
 * @property {Int32Array} parent of each node; -1: a root. A node comes after its parent
 * @property {Int32Array} nodeFrame
 * @property {number} siteCount
 * @property {Float64Array} live bytes, course by course
 * @property {Float64Array} allocated bytes, course by course
 */

/** @returns {Promise<Report>} */
export async function unpack() {
  const text = document.getElementById("data")?.textContent ?? "";
  const packed = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const file = new Uint8Array(await new Response(stream).arrayBuffer());
  document.getElementById("data")?.remove();
  return read(file);
}

/** @param {Uint8Array} file @returns {Report} */
export function read(file) {
  const length = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const { strings, columns: places, ...facts } = JSON.parse(new TextDecoder().decode(file.subarray(4, 4 + length)));
  const begin = Math.ceil((4 + length) / 8) * 8;
  /** @type {Record<string, Int32Array | Float64Array>} */
  const columns = {};
  for (const [name, place] of Object.entries(places)) {
    columns[name] = column(file.subarray(begin + place.at), place);
  }
  const parent = new Int32Array(columns.node_up.length);
  parent.forEach((_, node) => (parent[node] = columns.node_up[node] === 0 ? -1 : node - columns.node_up[node]));
  const nodeFrame = /** @type {Int32Array} */ (columns.node_frame);
  const [live, allocated] = ["course_live", "course_allocated"].map((name) => cumulated(columns[name] ?? [], facts.times_ns?.length ?? 0));
  return { facts, strings, columns, parent, nodeFrame, siteCount: columns.site_leaf.length, live, allocated };
}

/**
 * A column, whose bytes are kept by their significance.
 * @param {Uint8Array} file @param {{of: string, length: number}} place
 */
function column(file, { of, length }) {
  const width = of === "i32" ? 4 : 8;
  const bytes = new Uint8Array(length * width);
  for (let byte = 0; byte < width; byte += 1) {
    for (let row = 0; row < length; row += 1) bytes[row * width + byte] = file[byte * length + row];
  }
  return of === "i32" ? new Int32Array(bytes.buffer) : new Float64Array(bytes.buffer);
}
