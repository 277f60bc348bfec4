// @ts-check
// Findings: the lines of the application that hold memory, each with its evidence, callers and callees.

import { breakable, element, painted, spark } from "./dom.js";
import { bytes, count, more, rate, share } from "./format.js";
import { grewIn } from "./course.js";
import { isFinding, stackOf, sureOf, frameName } from "./model.js";
import { around } from "./stacks.js";

/** @typedef {import("./data.js").Report} Report */
/** @typedef {import("./model.js").Line} Line */
/** @typedef {import("./model.js").Look} Look */
/** @typedef {import("./stacks.js").Node} Node */

/** Lines that are shown where nothing is a finding, and findings at most. */
const SHOWN = 8;
const FINDINGS = 20;
const PATHS = 4;

/** @param {Line} line */
const sure = (line) => sureOf(line.verdict, line.proof);

/**
 * @param {Report} report
 * @param {Line[]} lines
 * @param {Look} look
 * @param {boolean} all
 * @param {(all: boolean) => void} toggled
 * @returns {HTMLElement}
 */
export function lineTable(report, lines, look, all, toggled) {
  const whole = lines.reduce((sum, line) => sum + line.live, 0);
  const findings = lines.filter(isFinding).slice(0, FINDINGS);
  const shown = all ? lines.slice(0, 1000) : findings.length ? findings : lines.slice(0, SHOWN);
  const rest = lines.slice(shown.length);
  const body = shown.map((line, at) => row(report, line, at + 1, whole, look));
  if (findings.length) body[0].open = true;
  const restBytes = rest.reduce((sum, line) => sum + line.live, 0);
  const others = rest.length
    ? element("p", { class: "more" }, `${count(rest.length)} more, ${bytes(restBytes)}${rest.every((line) => sure(line) === "ok") ? ", all ok" : ""}. `, element("button", { type: "button", click: () => toggled(true) }, "show all"))
    : null;
  const heads = element("div", { class: "line head", "aria-hidden": "true" },
    ...["", "line that allocates", "not freed", look.moments ? "in the range" : "grew", "left", "sure", "over time"].map((text) => element("span", {}, text)));
  return element("div", { class: "lines" }, heads, ...body, others);
}

/** @param {Report} report @param {Line} line @param {number} place @param {number} whole @param {Look} look */
function row(report, line, place, whole, look) {
  const summary = element("summary", { class: `line ${isFinding(line) ? "finding" : ""}` },
    element("span", {}, String(place)),
    element("span", { class: "name" }, element("b", {}, ...breakable(line.name)), element("small", {}, line.what)),
    cellOf("not freed", bytes(line.live || line.mapped)),
    look.moments ? cellOf("in the range", orNot(grewIn(line.course, look.moments))) : cellOf("grew", grew(line)),
    cellOf("left", Number.isNaN(line.count) ? "" : count(line.count)),
    element("span", { class: `sure ${sure(line).replace(/ /g, "-")}` }, sure(line)),
    line.course ? spark(line.course, look.moments) : element("span", {}));
  const made = /** @type {HTMLDetailsElement} */ (element("details", { id: `line-${place}` }, summary));
  made.addEventListener("toggle", () => {
    if (made.childElementCount > 1) return;
    const place = made.appendChild(element("div", { class: "detail" }));
    painted(() => place.replaceWith(details(report, line, whole, look)));
  });
  return made;
}

/** @param {string} head of its column, said where there are no columns @param {string} text */
const cellOf = (head, text) => element("span", { class: "number", "data-head": head }, text);

/** Bytes a second; of threads, how many a minute. @param {Line} line */
function grew(line) {
  const perMinute = line.growthCount * 60;
  return perMinute >= 0.5 && line.what.includes("thread-stack") ? `${count(perMinute)}/min` : rate(line.growth ?? NaN);
}

/** @param {number} grew */
const orNot = (grew) => (Number.isNaN(grew) ? "not known" : more(grew));

/** @param {Report} report @param {Line} line @param {number} whole @param {Look} look */
function details(report, line, whole, look) {
  const { threads } = line;
  const { callers, callees } = around(report, line.sites, { ...look, measure: "live", moments: null });
  const text = asText(report, line, whole, threads);
  const said = element("span", { role: "status" });
  const copy = element("button", {
    type: "button",
    click: () => navigator.clipboard.writeText(text).then(() => (said.textContent = "copied"), () => (said.textContent = "the browser does not allow that: select the text below")),
  }, "copy as text");
  return element("div", { class: "detail" },
    line.evidence ? element("p", {}, element("b", {}, "why: "), line.evidence) : null,
    line.advice && isFinding(line) ? element("p", {}, element("b", {}, "fix: "), line.advice) : null,
    line.holders ? keeps(line.holders) : null,
    element("p", {}, amounts(line, whole)),
    line.sizes ? element("p", {}, element("b", {}, "sizes: "), line.sizes.map(([least, size, times]) => `${bytes(size)} in ${count(times)} ${sizeClass(least)}`).join(", ")) : null,
    threads.length ? element("p", {}, element("b", {}, "threads: "), threads.slice(0, 8).join(", "), threads.length > 8 ? ` and ${threads.length - 8} more` : "") : null,
    callers.children.length ? element("h4", {}, "callers, the nearest first") : null,
    callers.children.length ? branch(callers, 0) : null,
    callees.children.length ? element("h4", {}, "what it calls, down to the allocation") : null,
    callees.children.length ? branch(callees, 0) : null,
    element("p", {}, copy, " ", said),
    element("details", {}, element("summary", {}, "as text"), element("pre", {}, text)));
}

/** @param {Line} line @param {number} whole */
function amounts(line, whole) {
  const mapped = line.mapped ? `${bytes(line.mapped)} mapped and in memory` : "";
  const each = line.count > 0 ? ` in ${count(line.count)} allocations, ${bytes(line.live / line.count)} each` : "";
  const held = line.live ? `${bytes(line.live)} not freed (${share(line.live, whole)} of all)${each}` : "";
  const resident = line.resident === null || !line.live ? "" : `${bytes(line.resident)} of that in memory`;
  const allocated = line.allocated ? `${bytes(line.allocated)} allocated in all` : "";
  const paths = line.sites.length ? `${count(line.sites.length)} call path${line.sites.length === 1 ? "" : "s"}` : "";
  return `${[mapped, held, resident, allocated, paths].filter((part) => part).join("; ")}.`;
}

/** @param {number} least of a class */
const sizeClass = (least) => (least ? `of ${bytes(least)} to ${bytes(2 * least)}` : "of 0 B");

/** Who keeps it. @param {NonNullable<Line["holders"]>} holders */
function keeps(holders) {
  const [begin, ...rest] = holders.text.split(/(?<=^kept by|^kept softly by) /);
  const said = rest.length ? [element("b", {}, `${begin}: `), rest.join(" ")] : [holders.text];
  if (holders.ways.length < 2) return element("p", {}, ...said);
  const ways = holders.ways.map((way) => element("li", {}, element("b", {}, bytes(way.bytes)), ` in ${count(way.count)}: ${way.path || way.state}`));
  if (holders.more) ways.push(element("li", {}, `${count(holders.more)} more ways`));
  return element("details", {}, element("summary", {}, ...said), element("ul", { class: "branch" }, ...ways));
}

/** A chain without branches is one item. @param {Node} node @param {number} depth @returns {HTMLElement} */
function branch(node, depth) {
  const items = node.children.slice(0, PATHS).map((child) => {
    const chain = [child.name];
    let end = child;
    while (end.children.length === 1 && end.own === 0) {
      end = end.children[0];
      chain.push(end.name);
    }
    const label = element("span", {}, element("b", {}, bytes(child.value)), " ", chain.join(" \u203a "));
    if (!end.children.length) return element("li", {}, label);
    const open = element("details", depth < 2 ? { open: true } : {}, element("summary", {}, label));
    open.append(branch(end, depth + 1));
    return element("li", {}, open);
  });
  const rest = node.children.slice(PATHS);
  if (rest.length) items.push(element("li", {}, `${rest.length} more, ${bytes(rest.reduce((sum, child) => sum + child.value, 0))}`));
  return element("ul", { class: "branch" }, ...items);
}

/** For a ticket. @param {Report} report @param {Line} line @param {number} whole @param {string[]} threads */
function asText(report, line, whole, threads) {
  const { facts } = report;
  const first = line.sites.slice(0, 1).flatMap((site) => stackOf(report, site).reverse()).map((frame) => `    ${frameName(report, frame)}`);
  return [
    `${facts.program}${facts.target.pid ? ` (pid ${facts.target.pid})` : ""}, recorded ${facts.session.started}`,
    `${line.name}  [${line.what}]  ${sure(line)}`,
    `  ${amounts(line, whole)} ${grew(line)}`,
    ...(line.evidence ? [`  why: ${line.evidence}`] : []),
    ...(line.advice && isFinding(line) ? [`  fix: ${line.advice}`] : []),
    ...(line.holders ? [`  ${line.holders.text}`] : []),
    ...(threads.length ? [`  threads: ${threads.slice(0, 8).join(", ")}`] : []),
    ...(first.length ? ["  the call path that holds most:"] : []),
    ...first,
  ].join("\n");
}
