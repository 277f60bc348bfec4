// @ts-check
// What is looked at, as the page's address says it. Pure.

const SECOND = 1e9;

/** Views, in the order of their tabs and keys. */
export const VIEWS = ["flame", "inverted", "table", "categories", "threads", "code", "census", "memory", "quality"];

/**
 * @typedef {object} State
 * @property {string} view
 * @property {string} measure
 * @property {string} category "": all
 * @property {string} thread a pattern of names; "": all
 * @property {string} filter "": all stacks
 * @property {boolean} jvm
 * @property {boolean} jdk
 * @property {boolean} all lines are shown
 * @property {import("./course.js").Range | null} range
 * @property {string[]} zoom names of frames, from the root on
 */

/** @param {State} state @param {string} usual measure @returns {string} the address's part after `#` */
export function addressOf(state, usual) {
  const parts = new URLSearchParams();
  if (state.view !== VIEWS[0]) parts.set("view", state.view);
  if (state.measure !== usual) parts.set("of", state.measure);
  for (const name of /** @type {const} */ (["category", "thread", "filter"])) if (state[name]) parts.set(name, state[name]);
  for (const name of /** @type {const} */ (["jvm", "jdk", "all"])) if (state[name]) parts.set(name, "1");
  if (state.range) parts.set("range", `${(state.range.from / SECOND).toFixed(3)}-${(state.range.to / SECOND).toFixed(3)}`);
  for (const name of state.zoom) parts.append("zoom", name);
  return parts.toString();
}

/** @param {string} address @param {string[]} measures those that there are, the usual one first @returns {State} what it does not say is as usual */
export function stateOf(address, measures) {
  const parts = new URLSearchParams(address);
  const text = (/** @type {string} */ name) => parts.get(name) ?? "";
  const range = text("range").match(/^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/);
  return {
    view: VIEWS.includes(text("view")) ? text("view") : VIEWS[0],
    measure: measures.includes(text("of")) ? text("of") : measures[0],
    category: text("category"), thread: text("thread"), filter: text("filter"),
    jvm: parts.has("jvm"), jdk: parts.has("jdk"), all: parts.has("all"), zoom: parts.getAll("zoom"),
    range: range && Number(range[1]) <= Number(range[2]) ? { from: Number(range[1]) * SECOND, to: Number(range[2]) * SECOND } : null,
  };
}
