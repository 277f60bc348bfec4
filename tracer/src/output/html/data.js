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
 * @property {number[][][]} shown frames of sites, those that were asked for, with and without those of the JVM and the JDK
 * @property {Map<string, Float64Array>} held by threads of each pattern of names: bytes by site, those that were asked for
 */

/** @returns {Promise<Report>} */
export async function unpack() {
  const text = document.getElementById("data")?.textContent ?? "";
  const letters = atob(text);
  const packed = new Uint8Array(letters.length);
  for (let at = 0; at < packed.length; at += 1) packed[at] = letters.charCodeAt(at);
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
  // Unpacked when it is asked for: the answer needs few of them.
  /** @type {Record<string, Int32Array | Float64Array>} */
  const columns = {};
  for (const [name, place] of Object.entries(places)) {
    const get = once(() => column(file.subarray(begin + place.at), place));
    Object.defineProperty(columns, name, { get, enumerable: true });
  }
  const parents = once(() => {
    const up = /** @type {Int32Array} */ (columns.node_up);
    const parent = new Int32Array(up.length);
    for (let node = 0; node < up.length; node += 1) parent[node] = up[node] === 0 ? -1 : node - up[node];
    return parent;
  });
  const [live, allocated] = ["course_live", "course_allocated"].map((name) => once(() => cumulated(columns[name] ?? [], facts.times_ns?.length ?? 0)));
  return {
    facts, strings, columns, siteCount: columns.site_leaf.length, shown: [[], [], [], []], held: new Map(),
    get parent() { return parents(); },
    get nodeFrame() { return /** @type {Int32Array} */ (columns.node_frame); },
    get live() { return live(); },
    get allocated() { return allocated(); },
  };
}

/** @template T @param {() => T} make @returns {() => T} what is made at the first call */
function once(make) {
  /** @type {T | undefined} */
  let made;
  return () => (made ??= make());
}

/**
 * A column, whose bytes are kept by their significance.
 * @param {Uint8Array} file @param {{of: string, length: number}} place
 */
function column(file, { of, length }) {
  const halves = of === "i32" ? 1 : 2;
  const words = new Int32Array(length * halves);
  for (let half = 0; half < halves; half += 1) {
    const [first, second, third, fourth] = [0, 1, 2, 3].map((byte) => (4 * half + byte) * length);
    for (let row = 0; row < length; row += 1) {
      words[row * halves + half] = file[first + row] | (file[second + row] << 8) | (file[third + row] << 16) | (file[fourth + row] << 24);
    }
  }
  return of === "i32" ? words : new Float64Array(words.buffer);
}
