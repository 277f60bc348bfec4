// What the checks in browsers have in common: Chromium, what must be equal, how the page writes sizes.

import { createRequire } from "node:module";
import { join } from "node:path";

let failures = 0;

/** @param {string} what @param {unknown} shown @param {unknown} expected */
export function equal(what, shown, expected) {
  const same = JSON.stringify(shown) === JSON.stringify(expected);
  console.log(`${same ? "ok  " : "FAIL"} ${what}${same ? "" : `: ${JSON.stringify(shown)}, not ${JSON.stringify(expected)}`}`);
  if (!same) failures += 1;
}

/** @param {string} what @param {number} measured @param {number} most @param {string} unit */
export function atMost(what, measured, most, unit) {
  console.log(`${measured <= most ? "ok  " : "FAIL"} ${what}: ${measured.toFixed(1)} ${unit}, at most ${most}`);
  if (measured > most) failures += 1;
}

/** Ends the process: with status 1 if something was not as it must be. @returns {never} */
export function done() {
  process.exit(failures ? 1 : 0);
}

/** As the page writes sizes. @param {number} value */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1023.95 && unit + 1 < units.length) { value /= 1024; unit += 1; }
  return unit ? `${value.toFixed(1)} ${units[unit]}` : `${value} B`;
}

/** The packages that are in a folder's node_modules. @param {string} folder */
export const packages = (folder) => createRequire(join(folder, "x.js"));

/** @param {string} folder that has node_modules */
export function launch(folder) {
  return packages(folder)("playwright-core").chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** The page has shown all that it shows at first. @param {any} page */
export const ready = (page) => page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
