// Every number of the page's tables is the JSON report's.

import { bytes, equal } from "./driver.mjs";

const ROWS = 200;
const count = (value) => value.toLocaleString("en-US");
const known = (value) => (value === null ? "not known" : bytes(value));

/** The cells of a table, of these columns. @param {any} page @param {string} caption @param {number[]} columns */
async function cells(page, caption, columns) {
  const rows = page.locator(`#view table:has(caption:text-is(${JSON.stringify(caption)})) tbody tr`);
  const all = await rows.evaluateAll((found) => found.map((row) => [...row.cells].map((cell) => cell.textContent)));
  return all.map((row) => columns.map((at) => row[at]));
}

/** @param {any} page @param {any} report */
export async function tables(page, report) {
  const same = async (view, caption, columns, expected) => {
    await page.click(`#tab-${view}`);
    equal(`${view}: ${caption}`, await cells(page, caption, columns), expected);
  };

  // Sites of equal bytes are in no order.
  const sites = report.sites.filter((row) => row.source === "allocator" && row.live_bytes > 0);
  sites.sort((one, other) => other.live_bytes - one.live_bytes);
  const site = (row) => [bytes(row.live_bytes), count(row.live_count), bytes(row.allocated_bytes), row.category];
  await page.click("#tab-table");
  const shown = await cells(page, "Call paths, those that hold most first", [0, 1, 2, 4]);
  const all = sites.map((row) => JSON.stringify(site(row)));
  equal("table: as many call paths", shown.length, Math.min(ROWS, sites.length));
  equal("table: call paths", shown.filter((row) => !all.includes(JSON.stringify(row))), []);
  equal("table: their bytes, in order", shown.map((row) => row[0]), sites.slice(0, ROWS).map((row) => bytes(row.live_bytes)));

  await same("categories", "Categories", [0, 1, 2, 3, 4, 7],
    report.categories.map((row) => [row.id, row.source, bytes(row.live_bytes), count(row.live_count), bytes(row.allocated_bytes), row.verdict?.kind ?? ""]));
  await same("threads", "By name", [0, 1, 2, 3, 4, 5],
    report.threads.names.slice(0, ROWS).map((row) => [row.pattern, count(row.live), count(row.started), count(row.exited), bytes(row.stack_reserved_bytes), bytes(row.stack_resident_bytes)]));
  await same("threads", "By who started them", [1, 2, 3, 4],
    report.threads.creators.slice(0, ROWS).map((row) => [count(row.count), count(row.live), bytes(row.stack_reserved_bytes), bytes(row.stack_resident_bytes)]));
  await same("code", "Heaps of the code cache", [0, 1, 2, 3],
    report.code_cache.heaps.map((row) => [row.name, known(row.used_bytes), known(row.committed_bytes), known(row.reserved_bytes)]));
  await same("code", "Compiled methods, the largest first", [0, 2],
    report.code_cache.methods.slice(0, ROWS).map((row) => [bytes(row.bytes), row.method]));
  await same("memory", "What is in memory at the end, by part", [0, 1, 3, 4],
    report.memory.parts.map((row) => [row.name, known(row.resident_bytes), known(row.committed_bytes), known(row.reserved_bytes)]));

  await page.click("#tab-quality");
  const quality = await page.locator("#view").innerText();
  equal("quality: stacks", quality.includes(`${count(report.trust.stacks_complete)} of ${count(report.trust.stacks_total)} walks`), true);
  const lost = Object.entries(report.trust.lost);
  if (lost.length) await same("quality", "Lost", [0, 1], lost.map(([reason, times]) => [reason, count(times)]));
  else equal("quality: nothing lost", quality.includes("Nothing was lost."), true);
}
