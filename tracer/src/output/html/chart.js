// @ts-check
// Memory over time: what is resident by part, with collections, the limit and the peak. A range can be selected.

import { element, color } from "./dom.js";
import { bytes, counted, duration, more } from "./format.js";
import { momentAt, partsOf, total } from "./parts.js";

/** @typedef {import("./course.js").Range} Range */

const HEIGHT = 190;
const LEFT = 72;
const BOTTOM = 22;
const PARTS = 9;

/**
 * @param {any} facts
 * @param {(range: Range | null) => void} selected
 * @returns {{root: HTMLElement, draw: () => void, select: (range: Range | null) => void}}
 */
export function chart(facts, selected) {
  const { parts, moments } = partsOf(facts, PARTS);
  const end = facts.session.duration_ns;
  const canvas = /** @type {HTMLCanvasElement} */ (element("canvas", {
    class: "chart", tabindex: 0, role: "img",
    "aria-label": "Resident memory over time by part. Arrow keys move through the moments, with Shift they select a range.",
  }));
  const said = element("p", { class: "said", role: "status" });
  const legend = element("ul", { class: "legend" });
  const peak = moments.length ? moments.reduce((/** @type {any} */ one, /** @type {any} */ other) => (total(other) > total(one) ? other : one)) : null;
  const root = element("div", {}, ...(moments.length ? [canvas, legend] : []), said);
  /** @type {Range | null} */
  let range = null;
  let marked = -1;
  /** Where a range by keys begins. */
  let anchor = -1;
  const most = Math.max(1, ...moments.map(total), facts.memory.limit_bytes && near(facts, moments) ? facts.memory.limit_bytes : 0) * 1.06;
  const width = () => canvas.clientWidth - LEFT - 8;
  const x = (/** @type {number} */ time) => LEFT + (time / Math.max(1, end)) * width();
  const y = (/** @type {number} */ size) => (HEIGHT - BOTTOM) * (1 - size / most) + 4;
  const timeAt = (/** @type {number} */ at) => Math.min(end, Math.max(0, ((at - LEFT) / Math.max(1, width())) * end));

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = HEIGHT * ratio;
    const pen = canvas.getContext("2d");
    if (!pen) return;
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, canvas.clientWidth, HEIGHT);
    pen.font = "11px system-ui, sans-serif";
    grid(pen);
    const below = new Float64Array(moments.length);
    parts.forEach((part, at) => {
      pen.fillStyle = color(`part-${at}`);
      pen.beginPath();
      moments.forEach((/** @type {any} */ moment, /** @type {number} */ index) => pen.lineTo(x(moment.time_ns), y(below[index] + part.of(moment))));
      for (let index = moments.length - 1; index >= 0; index -= 1) pen.lineTo(x(moments[index].time_ns), y(below[index]));
      pen.fill();
      moments.forEach((/** @type {any} */ moment, /** @type {number} */ index) => (below[index] += part.of(moment)));
    });
    marks(pen);
  }

  /** @param {CanvasRenderingContext2D} pen */
  function grid(pen) {
    pen.strokeStyle = color("line");
    pen.fillStyle = color("soft");
    for (let step = 0; step <= 3; step += 1) {
      const size = (most / 1.06) * (step / 3);
      pen.beginPath();
      pen.moveTo(LEFT, y(size));
      pen.lineTo(canvas.clientWidth - 8, y(size));
      pen.stroke();
      pen.textAlign = "right";
      pen.fillText(bytes(size), LEFT - 6, y(size) + 4);
    }
    for (let step = 0; step <= 4; step += 1) {
      pen.textAlign = step === 4 ? "right" : step === 0 ? "left" : "center";
      pen.fillText(duration((end * step) / 4), x((end * step) / 4), HEIGHT - 6);
    }
  }

  /** @param {CanvasRenderingContext2D} pen */
  function marks(pen) {
    pen.fillStyle = color("soft");
    for (const pause of facts.series.gc) pen.fillRect(x(pause.begin_ns), HEIGHT - BOTTOM - 2, 1, pause.full ? 8 : 4);
    if (facts.memory.limit_bytes && facts.memory.limit_bytes <= most) {
      pen.strokeStyle = color("bad");
      pen.setLineDash([5, 3]);
      pen.beginPath();
      pen.moveTo(LEFT, y(facts.memory.limit_bytes));
      pen.lineTo(canvas.clientWidth - 8, y(facts.memory.limit_bytes));
      pen.stroke();
      pen.setLineDash([]);
      pen.fillStyle = color("bad");
      pen.textAlign = "left";
      pen.fillText(`limit ${bytes(facts.memory.limit_bytes)}`, LEFT + 6, y(facts.memory.limit_bytes) - 4);
    }
    if (range) {
      pen.fillStyle = color("select");
      pen.fillRect(x(range.from), 4, Math.max(1, x(range.to) - x(range.from)), HEIGHT - BOTTOM);
    }
    if (peak) {
      pen.fillStyle = color("ink");
      pen.beginPath();
      pen.arc(x(peak.time_ns), y(total(peak)), 3, 0, 7);
      pen.fill();
    }
    if (moments[marked]) {
      pen.fillStyle = color("ink");
      pen.fillRect(x(moments[marked].time_ns), 4, 1, HEIGHT - BOTTOM);
    }
  }

  /** @param {number} index */
  function mark(index) {
    marked = Math.min(moments.length - 1, Math.max(0, index));
    const moment = moments[marked];
    if (!moment) return;
    const rows = parts.map((part) => `${part.name} ${bytes(part.of(moment))}`);
    said.textContent = `at ${duration(moment.time_ns)}: ${bytes(total(moment))} resident: ${rows.slice(0, 5).join(", ")}`;
    draw();
  }

  /** @param {Range | null} next */
  function select(next) {
    range = next;
    if (range) {
      const [first, last] = [momentAt(moments, range.from), momentAt(moments, range.to)];
      const change = first && last ? total(last) - total(first) : NaN;
      said.textContent = `${duration(range.from)} to ${duration(range.to)}: resident ${Number.isNaN(change) ? "not known" : more(change)}. Esc: all of it`;
    } else said.replaceChildren(...hint(peak, facts, () => mark(moments.indexOf(peak))));
    draw();
  }

  let began = -1;
  canvas.addEventListener("pointerdown", (event) => {
    began = event.offsetX;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (began >= 0 && Math.abs(event.offsetX - began) > 4) {
      select({ from: timeAt(Math.min(began, event.offsetX)), to: timeAt(Math.max(began, event.offsetX)) });
    } else mark(moments.indexOf(momentAt(moments, timeAt(event.offsetX))));
  });
  canvas.addEventListener("pointerup", (event) => {
    const isRange = Math.abs(event.offsetX - began) > 4;
    began = -1;
    if (!isRange) select(null);
    selected(range);
    // A click is on the peak, or on nothing.
    if (!isRange && peak && Math.abs(x(peak.time_ns) - event.offsetX) < 8) mark(moments.indexOf(peak));
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    if (!event.shiftKey) anchor = -1;
    else if (anchor < 0) anchor = Math.max(0, marked);
    mark(marked + (event.key === "ArrowLeft" ? -1 : 1));
    if (anchor < 0 || anchor === marked) return;
    select({ from: moments[Math.min(anchor, marked)].time_ns, to: moments[Math.max(anchor, marked)].time_ns });
    selected(range);
  });
  legend.append(...parts.map((part, at) => element("li", { class: `key part-${at}` }, `${part.name} `, element("b", {}, bytes(part.last)))));
  return { root, draw, select };
}

/** @param {any} peak @param {any} facts @param {() => void} show @returns {(Node | string)[]} */
function hint(peak, facts, show) {
  if (!peak) return ["The recording does not have the course of resident memory."];
  const gc = facts.session.gc_count === null ? "collections were not seen" : `${counted(facts.session.gc_count, "collection")} (ticks below; long: full)`;
  return [element("button", { type: "button", class: "link", click: show }, `most resident: ${bytes(total(peak))} at ${duration(peak.time_ns)}`), `; ${gc}. Drag, or Shift and arrow keys, to select a range.`];
}

/** @param {any} facts @param {any[]} moments */
const near = (facts, moments) => facts.memory.limit_bytes < 2.5 * Math.max(...moments.map(total));
