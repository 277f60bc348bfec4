// @ts-check
// Elements with text. Names of the recorded program come in here and nowhere else, as text.

/**
 * @param {string} tag
 * @param {Record<string, string | number | boolean | ((event: any) => void)>} [attributes] functions are listeners
 * @param {...(Node | string | null)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, String(value));
  }
  for (const child of children) if (child !== null) made.append(child);
  return made;
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id}`);
  return found;
}

/**
 * A table. Cells that are numbers are right-aligned by their column.
 * @param {string} caption
 * @param {string[]} heads those that begin with `#` are of numbers
 * @param {(string | Node)[][]} rows
 * @returns {HTMLElement}
 */
export function table(caption, heads, rows) {
  const isNumber = heads.map((head) => head.startsWith("#"));
  /** @param {string} tag @param {string | Node} cell @param {number} at */
  const cell = (tag, cell, at) =>
    element(tag, { class: isNumber[at] ? "number" : "", ...(tag === "th" ? { scope: "col" } : {}) }, cell);
  const head = element("tr", {}, ...heads.map((text, at) => cell("th", text.replace(/^#/, ""), at)));
  const body = rows.map((row) => element("tr", {}, ...row.map((text, at) => cell("td", text, at))));
  const made = element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, made);
}

/** Does something once what is there now was painted. @param {() => void} act */
export function painted(act) {
  requestAnimationFrame(() => setTimeout(act));
}

/** @param {string} text @param {string} [kind] @returns {HTMLElement} */
export function note(text, kind = "note") {
  return element("p", { class: kind }, text);
}

/** A name that may be broken before its dots and dollars, and has no other text for it. @param {string} name @returns {(Node | string)[]} */
export function breakable(name) {
  return name.split(/(?=[.$:/])/).flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part]));
}

/** A colour of the style, in the scheme that is shown. @param {string} name @returns {string} */
export function color(name) {
  const probe = byId("colour");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/**
 * A course as a small picture, with a range in it.
 * @param {number[]} course @param {{from: number, to: number} | null} moments @returns {Element}
 */
export function spark(course, moments) {
  const [wide, high, most] = [100, 22, Math.max(1, ...course)];
  const x = (/** @type {number} */ at) => ((at * wide) / Math.max(1, course.length - 1)).toFixed(1);
  const points = course.map((value, at) => `${x(at)},${(high - (value / most) * (high - 2)).toFixed(1)}`);
  const made = /** @type {Element} */ (/** @type {HTMLTemplateElement} */ (byId("spark")).content.firstElementChild?.cloneNode(true));
  made.querySelector("polyline")?.setAttribute("points", points.join(" "));
  if (moments) {
    made.querySelector("rect")?.setAttribute("x", x(moments.from));
    made.querySelector("rect")?.setAttribute("width", String(Number(x(moments.to)) - Number(x(moments.from))));
  }
  return made;
}
