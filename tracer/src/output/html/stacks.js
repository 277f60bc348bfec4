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
 * The frames of a site's stack that are shown. Left out are those of the JVM and of threads' beginnings where there are others, those of the JDK
 * but the one that the application called, all turns of recursion but the last, and leaves without a name. No bytes are left out with them.
 * @param {Report} report @param {number} site @param {Look} look @returns {number[]} root first
 */
export function shownFrames(report, site, look) {
  const known = report.shown[(look.jvm ? 2 : 0) + (look.jdk ? 1 : 0)];
  return (known[site] ??= unrolled(report, keptFrames(report, report.columns.site_leaf[site], look)));
}

/** @param {Report} report @param {number} leaf @param {Look} look @returns {number[]} leaf first */
function keptFrames(report, leaf, look) {
  const { frame_kind: kinds, frame_module: modules } = report.columns;
  const { parent, nodeFrame } = report;
  const all = [];
  for (let node = leaf; node >= 0; node = parent[node]) all.push(nodeFrame[node]);
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
  return !look.jdk && own >= 0 ? kept.filter((frame, at) => kinds[frame] !== JDK || at === own - 1) : kept;
}

/** Each circle of calls once: its last turn, which is the one that led on. @param {Report} report @param {number[]} frames leaf first @returns {number[]} root first */
function unrolled({ columns }, frames) {
  // Lines of a function differ from turn to turn.
  const { frame_function: functions, frame_kind: kinds } = columns;
  /** @type {number[]} */
  const shown = [];
  for (let at = frames.length - 1; at >= 0; at -= 1) {
    const end = shown.push(frames[at]);
    const [called, kind] = [functions[frames[at]], kinds[frames[at]]];
    for (let length = 1; length <= CIRCLE && 2 * length <= end; length += 1) {
      if (functions[shown[end - 1 - length]] !== called || kinds[shown[end - 1 - length]] !== kind) continue;
      let turn = 1;
      while (turn < length && functions[shown[end - 1 - turn]] === functions[shown[end - 1 - turn - length]] && kinds[shown[end - 1 - turn]] === kinds[shown[end - 1 - turn - length]]) turn += 1;
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

/** @param {Report} report @param {number[]} sites @param {Look} look @param {(frames: number[], site: number) => number[]} part of the frames of a stack, root first, in the order of the tree @returns {Stacks} */
function stacksOf(report, sites, look, part) {
  const begins = new Int32Array(sites.length + 1);
  let frames = new Int32Array(sites.length * 24 + 2048);
  let length = 0;
  sites.forEach((site, at) => {
    const shown = part(shownFrames(report, site, look), site);
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
  /** @type {Map<number, Node>} by frame */
  #below = new Map();

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
    const below = this.#below;
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

  /** @param {number} frame @returns {Node | undefined} that of the frame, below it */
  child(frame) {
    return this.children.length ? this.#below.get(frame) : undefined;
  }
}

/** The stacks of sites as a tree. @param {Report} report @param {number[]} sites @param {Look} look @param {boolean} inverted @returns {Node} */
export function treeOf(report, sites, look, inverted) {
  return treeFrom(stacksOf(report, sites, look, (frames) => (inverted ? frames.toReversed() : frames)));
}

/** @param {Stacks} stacks */
function treeFrom(stacks) {
  const root = new Node(stacks, -1, null, 0);
  stacks.sites.forEach((_, at) => root.add(at));
  return root;
}

/**
 * What is above and below a line of code: who calls it, the nearest first, and what it calls down to the allocation. A site without a line has
 * no callers, and all of its stack is below.
 * @param {Report} report @param {number[]} sites @param {Look} look @returns {{callers: Node, callees: Node}}
 */
export function around(report, sites, look) {
  const { site_owner: owners, frame_function: functions } = report.columns;
  const place = (/** @type {number[]} */ frames, /** @type {number} */ site) =>
    (owners[site] < 0 ? -1 : frames.findLastIndex((frame) => functions[frame] === functions[owners[site]]));
  return {
    callers: treeFrom(stacksOf(report, sites, look, (frames, site) => frames.slice(0, Math.max(0, place(frames, site))).reverse())),
    callees: treeFrom(stacksOf(report, sites, look, (frames, site) => frames.slice(Math.max(0, place(frames, site))))),
  };
}

/**
 * What matches: how many frames, how much is on stacks with them, and where the largest of them are.
 * @param {Node} tree @param {RegExp} text @returns {{frames: number, value: number, found: Node[]}}
 */
export function searched(tree, text) {
  const { report, frames, begins, values } = tree.stacks;
  const MATCHES = 1;
  const SEEN = 2;
  const hits = Uint8Array.from(report.columns.frame_function, (_, frame) => (text.test(frameName(report, frame)) ? MATCHES : 0));
  /** @type {Set<Node>} */
  const found = new Set();
  let value = 0;
  let count = 0;
  for (let at = 0; at < values.length; at += 1) {
    let first = -1;
    for (let place = begins[at]; place < begins[at + 1]; place += 1) {
      const frame = frames[place];
      if (!hits[frame]) continue;
      if (first < 0) first = place;
      if (hits[frame] === MATCHES) count += 1;
      hits[frame] = SEEN;
    }
    if (first < 0) continue;
    value += values[at];
    if (found.size >= SEARCHED) continue;
    /** @type {Node | undefined} */
    let node = tree;
    for (let place = begins[at]; place <= first; place += 1) node = node?.child(frames[place]);
    if (node) found.add(node);
  }
  return { frames: count, value, found: [...found].sort((one, other) => other.value - one.value) };
}
