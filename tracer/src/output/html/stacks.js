// @ts-check
// Stacks as they are shown, and the tree that they make. Pure.

import { changeOf, frameName, valueOf } from "./model.js";

/** @typedef {import("./data.js").Report} Report */
/** @typedef {import("./model.js").Look} Look */

/** Kinds of frames, as the report has them. */
const [APPLICATION, JDK, JVM, MISSING, ENTRY] = [0, 1, 2, 5, 6];
/** Functions that call each other in a circle, at most, of recursion that is told as such. */
const CIRCLE = 8;
/** Matches that can be gone through, at most. */
const SEARCHED = 200;

/**
 * The frames of a stack that are shown. Left out are those of the JVM and of threads' beginnings where there are others, those of the JDK
 * but the one that the application called, all turns of recursion but the last, and leaves without a name. No bytes are left out with them.
 * @param {Report} report @param {number} leaf @param {Look} look @returns {number[]} root first
 */
export function shownFrames(report, leaf, look) {
  const { frame_kind: kinds, frame_module: modules } = report.columns;
  const all = [];
  for (let node = leaf; node >= 0; node = report.parent[node]) all.push(report.nodeFrame[node]);
  // What stands where a stack has no root is no frame.
  const isWord = (/** @type {number} */ frame) => kinds[frame] === MISSING && modules[frame] === 0;
  let kept = all;
  if (!look.jvm) {
    kept = all.filter((frame) => kinds[frame] !== JVM && kinds[frame] !== ENTRY);
    if (kept.every(isWord)) kept = all.filter((frame) => kinds[frame] !== ENTRY);
    if (kept.every(isWord)) kept = all;
  }
  const named = kept.findIndex((frame) => kinds[frame] !== MISSING);
  if (named > 0) kept = kept.slice(named);
  const own = kept.findIndex((frame) => kinds[frame] === APPLICATION);
  if (!look.jdk && own >= 0) kept = kept.filter((frame, at) => kinds[frame] !== JDK || at === own - 1);
  return once(report, kept);
}

/** Each circle of calls once: its last turn, which is the one that led on. @param {Report} report @param {number[]} frames leaf first @returns {number[]} root first */
function once(report, frames) {
  const { frame_function: functions, frame_kind: kinds } = report.columns;
  const same = (/** @type {number} */ one, /** @type {number} */ other) => one === other || (functions[one] === functions[other] && kinds[one] === kinds[other]);
  /** @type {number[]} */
  const shown = [];
  for (let at = frames.length - 1; at >= 0; at -= 1) {
    const end = shown.push(frames[at]);
    for (let length = 1; length <= CIRCLE && 2 * length <= end; length += 1) {
      let turn = 0;
      while (turn < length && same(shown[end - 1 - turn], shown[end - 1 - turn - length])) turn += 1;
      if (turn < length) continue;
      shown.splice(end - 2 * length, length);
      break;
    }
  }
  return shown;
}

/**
 * What is shown of the stacks of sites, one after the other.
 * @typedef {{report: Report, sites: number[], values: Float64Array, changes: Float64Array | null, frames: Int32Array, begins: Int32Array}} Stacks
 */

/** @param {Report} report @param {number[]} sites @param {Look} look @param {boolean} inverted @returns {Stacks} */
export function stacksOf(report, sites, look, inverted) {
  const begins = new Int32Array(sites.length + 1);
  let frames = new Int32Array(sites.length * 24 + 2048);
  let length = 0;
  sites.forEach((site, at) => {
    const shown = shownFrames(report, report.columns.site_leaf[site], look);
    if (inverted) shown.reverse();
    if (length + shown.length > frames.length) {
      const larger = new Int32Array(2 * (length + shown.length));
      larger.set(frames);
      frames = larger;
    }
    frames.set(shown, length);
    length += shown.length;
    begins[at + 1] = length;
  });
  const changes = look.measure === "either" ? Float64Array.from(sites, (site) => changeOf(report, site)) : null;
  return { report, sites, values: Float64Array.from(sites, (site) => valueOf(report, look, site)), changes, frames, begins };
}

/** A function below its callers (or above, inverted). What is below it is worked out when it is asked for. */
export class Node {
  /** @type {Node[] | null} */
  #children = null;

  /** @param {Stacks} stacks @param {number} frame -1: the root @param {Node | null} parent @param {number} level frames of a stack above those below it */
  constructor(stacks, frame, parent, level) {
    this.stacks = stacks;
    this.frame = frame;
    this.parent = parent;
    this.level = level;
    this.name = frame < 0 ? "all" : frameName(stacks.report, frame);
    this.kind = frame < 0 ? -1 : stacks.report.columns.frame_kind[frame];
    this.value = 0;
    this.own = 0;
    /** How much more the new one has, of what differs. */
    this.change = 0;
    /** Rows that are below it, with itself. */
    this.depth = 1;
    /** @type {number[]} stacks through it, by their place among the sites */
    this.through = [];
  }

  /** @param {number} at a stack */
  add(at) {
    const left = this.stacks.begins[at + 1] - this.stacks.begins[at] - this.level;
    this.value += this.stacks.values[at];
    if (this.stacks.changes) this.change += this.stacks.changes[at];
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
    for (const frame of stack.subarray(0, first + 1)) node = node?.children.find((child) => child.frame === frame);
    if (node) found.add(node);
  });
  return { frames: names.size, value, found: [...found].sort((one, other) => other.value - one.value) };
}
