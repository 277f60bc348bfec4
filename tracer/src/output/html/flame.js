// @ts-check
// The flame graph: a canvas as tall as its box, which scrolls through the rows. Frames below half a pixel are one.

import { element, color } from "./dom.js";
import { bytes, more, share } from "./format.js";
import { searched } from "./stacks.js";

/** @typedef {import("./stacks.js").Node} Node */

const ROW = 19;
/** The box's, at most. A canvas of a whole deep stack would be more than browsers draw. */
const BOX_HEIGHT = 460;
const KINDS = ["application", "jdk", "jvm", "native", "kernel", "missing", "native"];
const NAMES = ["your code", "JDK", "JVM", "libraries", "kernel", "not known"];

/**
 * @param {(node: Node) => void} zoomed
 * @returns {{root: HTMLElement, draw: () => void, show: (tree: Node, what: string) => void, search: (text: RegExp | null) => string, step: (by: number) => void, reset: () => void, zoomTo: (path: string[]) => void}}
 */
export function flame(zoomed) {
  const canvas = /** @type {HTMLCanvasElement} */ (element("canvas", { class: "flame", tabindex: 0, role: "img", "aria-label": "Flame graph. Arrow keys move, Enter zooms, 0 shows all." }));
  const height = element("div", { class: "height" });
  const box = element("div", { class: "flame-box" }, element("div", { class: "sticky" }, canvas), height);
  const said = element("p", { class: "said", role: "status" });
  const legend = element("ul", { class: "legend" }, ...NAMES.map((name, kind) => element("li", { class: `key kind-${kind}` }, name)));
  const root = element("div", {}, said, box, legend);
  /** @type {Node | null} */ let tree = null;
  /** @type {Node | null} */ let zoom = null;
  /** @type {Node | null} */ let focus = null;
  /** @type {RegExp | null} */ let wanted = null;
  /** @type {Node[]} */ let found = [];
  let at = -1;
  let what = "";
  let waits = false;
  /** @type {{node: Node, x: number, y: number, width: number}[]} */ let boxes = [];

  /** @param {Node} next @param {string} ofWhat */
  function show(next, ofWhat) {
    tree = zoom = focus = next;
    what = ofWhat;
    resize();
    search(wanted);
    say(next);
  }

  function resize() {
    if (!zoom) return;
    const rows = (zoom.depth + above(zoom).length) * ROW;
    height.style.height = `${rows}px`;
    box.style.height = `${Math.min(BOX_HEIGHT, rows + 2)}px`;
    later();
  }

  function later() {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      draw();
    });
  }

  function draw() {
    const pen = canvas.getContext("2d");
    if (!zoom || !pen || !box.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [box.clientWidth, box.clientHeight];
    if (canvas.width !== wide * ratio || canvas.height !== high * ratio) {
      [canvas.width, canvas.height] = [wide * ratio, high * ratio];
      [canvas.style.width, canvas.style.height] = [`${wide}px`, `${high}px`];
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, wide, high);
    pen.font = "12px system-ui, sans-serif";
    boxes = [];
    legend.hidden = zoom.stacks.changes !== null;
    const fill = KINDS.map((kind) => color(`kind-${kind}`));
    const colors = { ink: color("flame-ink"), page: color("page"), hit: color("hit"), soft: color("soft"), root: color("kind-missing") };
    const top = box.scrollTop;
    const trail = above(zoom);
    trail.forEach((node, row) => frame(node, 0, row * ROW - top, wide, 0.55));
    /** @type {{node: Node, x: number, row: number, width: number}[]} */
    const open = [{ node: zoom, x: 0, row: trail.length, width: wide }];
    for (let next = open.pop(); next; next = open.pop()) {
      const y = next.row * ROW - top;
      if (y > high) continue;
      if (y > -ROW) frame(next.node, next.x, y, next.width, 1);
      let x = next.x;
      for (const child of next.node.children) {
        const width = (next.width * child.value) / next.node.value;
        if (width < 0.5) {
          // They are sorted, so all that follow are as narrow: one grey piece.
          if (y + ROW > -ROW && y + ROW < high) {
            pen.fillStyle = colors.soft;
            pen.fillRect(x, y + ROW, Math.max(0.5, next.x + next.width * (1 - next.node.own / next.node.value) - x), ROW - 1);
          }
          break;
        }
        open.push({ node: child, x, row: next.row + 1, width });
        x += width;
      }
    }

    /** @param {Node} node @param {number} x @param {number} y @param {number} width @param {number} strength */
    function frame(node, x, y, width, strength) {
      if (!pen) return;
      boxes.push({ node, x, y, width });
      const isHit = wanted !== null && wanted.test(node.name);
      pen.globalAlpha = wanted && !isHit ? 0.45 : strength;
      pen.fillStyle = isHit ? colors.hit : node.stacks.changes ? changed(node) : node.kind < 0 ? colors.root : fill[node.kind];
      pen.fillRect(x, y, Math.max(0.5, width - 1), ROW - 1);
      pen.globalAlpha = 1;
      if (node === focus) {
        pen.strokeStyle = colors.ink;
        pen.strokeRect(x + 0.5, y + 0.5, Math.max(1, width - 2), ROW - 2);
      }
      if (width > 30) {
        pen.fillStyle = colors.ink;
        // Letters differ in width: what does not fit after all is drawn narrower.
        pen.fillText(fitted(node.name, Math.floor((width - 8) / 6.4)), x + 4, y + 13, width - 6);
      }
    }
  }

  /** @param {Node} node */
  function say(node) {
    if (!tree) return;
    said.textContent = `${node.name}: ${bytes(node.value)} ${what}, ${share(node.value, tree.value)} of all${node.own && node.own !== node.value ? `, ${bytes(node.own)} itself` : ""}${node.stacks.changes ? `, ${more(node.change)}` : ""}`;
  }

  /** @param {Node} node */
  function zoomOn(node) {
    zoom = focus = node;
    box.scrollTop = 0;
    resize();
    say(node);
    zoomed(node);
  }

  /** @param {RegExp | null} text @returns {string} what matched */
  function search(text) {
    wanted = text;
    found = [];
    at = -1;
    later();
    if (!tree || !wanted) return "";
    const result = searched(tree, wanted);
    found = result.found;
    return `${result.frames} frames, ${bytes(result.value)}, ${share(result.value, tree.value)}`;
  }

  /** @param {number} by to the next match, or back */
  function step(by) {
    if (!found.length) return;
    at = (at + by + found.length) % found.length;
    zoomOn(found[at]);
  }

  /** @param {string[]} path names from the root on */
  function zoomTo(path) {
    let next = tree;
    for (const name of path) next = next?.children.find((child) => child.name === name) ?? next;
    if (next && next !== zoom) zoomOn(next);
  }

  /** @param {MouseEvent} event */
  const under = (event) => boxes.find((it) => event.offsetX >= it.x && event.offsetX < it.x + it.width && event.offsetY >= it.y && event.offsetY < it.y + ROW)?.node;
  canvas.addEventListener("mousemove", (event) => {
    const node = under(event);
    canvas.style.cursor = node ? "pointer" : "default";
    say(node ?? zoom ?? /** @type {Node} */ (tree));
  });
  canvas.addEventListener("click", (event) => {
    const node = under(event);
    if (node) zoomOn(node);
  });
  canvas.addEventListener("keydown", (event) => {
    const moved = focus && neighbour(focus, event.key);
    if (event.key === "Enter" && focus) zoomOn(focus);
    else if (moved) {
      focus = moved;
      say(moved);
      later();
    } else return;
    event.preventDefault();
  });
  box.addEventListener("scroll", later);
  window.addEventListener("resize", later);
  return { root, draw: later, show, search, step, zoomTo, reset: () => tree && zoomOn(tree) };
}

/** @param {Node} node @returns {Node[]} from the root to the one above it */
function above(node) {
  const trail = [];
  for (let next = node.parent; next; next = next.parent) trail.unshift(next);
  return trail;
}

/** @param {Node} node @param {string} key @returns {Node | null | undefined} */
function neighbour(node, key) {
  const beside = node.parent?.children ?? [];
  if (key === "ArrowUp") return node.parent;
  if (key === "ArrowDown") return node.children[0];
  if (key === "ArrowLeft") return beside[beside.indexOf(node) - 1];
  if (key === "ArrowRight") return beside[beside.indexOf(node) + 1];
  return null;
}

/** Red grew, blue shrank: the stronger, the larger a part of it. @param {Node} node */
function changed(node) {
  const part = Math.sqrt(Math.min(1, Math.abs(node.change) / Math.max(1, node.value)));
  const fade = (/** @type {number} */ full) => Math.round(225 - (225 - full) * part);
  return node.change > 0 ? `rgb(${fade(245)}, ${fade(110)}, ${fade(100)})` : `rgb(${fade(110)}, ${fade(160)}, ${fade(245)})`;
}

/** The end of a name says more. @param {string} text @param {number} width */
function fitted(text, width) {
  if (text.length <= width) return text;
  return width < 5 ? "" : `…${text.slice(text.length - width + 1)}`;
}
