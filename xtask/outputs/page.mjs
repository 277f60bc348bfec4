// Drives the page in Chromium: nothing on the console, numbers as in the JSON report, every view, zoom, search, range,
// addresses, keys, and what axe-core finds.
//
// node page.mjs TRACER RECORDING FOLDER [PICTURE]: FOLDER has node_modules, and takes files; PICTURE is of the page's beginning.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bytes, done, equal, launch, packages, ready } from "./driver.mjs";
import { tables } from "./tables.mjs";

const [tracer, recording, folder, picture] = process.argv.slice(2);
const axe = readFileSync(packages(folder).resolve("axe-core/axe.min.js"), "utf8");
const out = join(folder, "files");
mkdirSync(out, { recursive: true });

const file = process.env.PAGE ?? join(out, "page.html");
if (!process.env.PAGE) execFileSync(tracer, ["report", recording, "--force", "-o", file]);
const report = JSON.parse(execFileSync(tracer, ["report", recording, "--format", "json"], { encoding: "utf8", maxBuffer: 1 << 30 }));
console.log(`page: ${bytes(statSync(file).size)}`);

const browser = await launch(folder);
/** @type {string[]} */
const said = [];
async function open(scheme, address = "", from = file) {
  // The policy is for the page's own code: the test's is let in.
  const page = await browser.newPage({ viewport: { width: 1280, height: 1400 }, colorScheme: scheme, bypassCSP: address === "#axe" });
  page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.push(error.message));
  page.on("request", (request) => { if (!request.url().startsWith("file:")) said.push(`request: ${request.url()}`); });
  await page.goto(pathToFileURL(from).href + address);
  await ready(page).catch((error) => { throw new Error(`${error.message}\n${said.join("\n")}`); });
  await page.waitForTimeout(200);
  return page;
}
const text = (page, selector) => page.locator(selector).innerText();

try {
  const page = await open("light");
  equal("the head says what was not freed", (await text(page, "#found-lines")).includes(`${bytes(report.totals.live_bytes)} of ${bytes(report.totals.allocated_bytes)} allocated`), true);
  const kept = report.by_line.find((row) => row.kept_by?.some((it) => it.state !== "none"));
  if (kept && report.findings.length) equal("a finding says who keeps it", /kept by|nobody|garbage|no holder/.test(await text(page, "#lines")), true);
  equal("the flame graph has all of it", (await text(page, "#view .said")).startsWith(`all: ${bytes(report.totals.live_bytes)} not freed`), true);
  const shown = await page.locator("#lines details > summary.finding").evaluateAll((rows) => rows.map((row) => [row.querySelector("b").textContent, row.querySelectorAll(".number")[0].textContent]));
  const named = (row) => (row.owner ? `${row.owner.function}${row.owner.line ? `:${row.owner.line}` : ""}` : [...new Set(row.rows.map((it) => it.category))].join(", "));
  const isJava = (row) => !row.owner || !row.owner.file || row.owner.file.endsWith(".java");
  equal("the findings are the report's, in its order", shown.filter((_, at) => isJava(report.findings[at])), report.findings.filter(isJava).map((row) => [named(row), bytes(row.live_bytes || row.mapped_bytes)]));
  await page.screenshot({ path: join(out, "page-light.png"), fullPage: true });
  if (picture) {
    await page.setViewportSize({ width: 1000, height: 860 });
    await page.waitForTimeout(300);
    await page.screenshot({ path: picture });
    await page.setViewportSize({ width: 1280, height: 1400 });
  }

  for (const view of ["inverted", "table", "categories", "threads", "code", "census", "memory", "quality"]) {
    await page.click(`#tab-${view}`);
    equal(`view ${view} has something`, (await text(page, "#view")).trim().length > 20, true);
    equal(`view ${view} is in the address`, page.url().includes(`view=${view}`), true);
    equal(`view ${view} is selected`, await page.getAttribute(`#tab-${view}`, "aria-selected"), "true");
  }
  await tables(page, report);
  await page.keyboard.press("1");
  await page.keyboard.press("/");
  await page.keyboard.type("a");
  await page.locator("#search").blur();
  const zooms = [];
  for (const key of ["n", "n", "N"]) {
    await page.keyboard.press(key);
    zooms.push(new URL(page.url()).hash.match(/zoom=[^&]*/)?.[0]);
  }
  equal("n goes to the next match", zooms[0] !== undefined && zooms[0] !== zooms[1], true);
  equal("N goes back to the one before", zooms[2], zooms[0]);
  await page.keyboard.press("0");
  await page.keyboard.press("Escape");
  await page.click("#tab-categories");
  const rows = await page.locator("#view tbody tr").count();
  equal("every category has a row", rows, report.categories.length);
  const largest = report.categories.find((row) => row.source === "allocator");
  await page.locator("#view button.link").first().click();
  equal("a category is drawn alone", (await text(page, "#view .said")).startsWith(`all: ${bytes(largest.live_bytes)} not freed`), true);

  await page.keyboard.press("1");
  await page.locator("canvas.flame").click({ position: { x: 200, y: 28 } });
  equal("a click zooms, and the address says so", page.url().includes("zoom="), true);
  await page.keyboard.press("0");
  equal("0 shows all", page.url().includes("zoom="), false);
  await page.keyboard.press("/");
  await page.keyboard.type("a");
  equal("a search says what matched", /frames, .* %/.test(await text(page, "#found")), true);
  await page.keyboard.press("Escape");
  await page.fill("#filter", "no such function");
  await page.keyboard.press("Tab");
  equal("an empty view says so", (await text(page, "#view")).startsWith("Nothing to draw"), true);
  await page.fill("#filter", "");
  await page.keyboard.press("Tab");

  const chart = page.locator("canvas.chart");
  const box = await chart.boundingBox();
  await page.mouse.move(box.x + 300, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + 700, box.y + 60, { steps: 4 });
  await page.mouse.up();
  equal("a range is in the address", page.url().includes("range="), true);
  equal("lines follow the range", (await text(page, "#lines .head")).includes("in the range"), true);
  await page.keyboard.press("1");
  equal("the flame graph follows the range", /in the range/.test(await text(page, "#view")), true);
  await page.click("#tab-categories");
  equal("categories have the range", (await text(page, "#view thead")).includes("in the range"), true);
  const address = page.url().slice(page.url().indexOf("#"));
  await page.keyboard.press("Escape");
  equal("Esc clears the range", page.url().includes("range="), false);
  const peak = report.memory.series.reduce((one, other) => (other.rss_bytes > one.rss_bytes ? other : one));
  // Between the chart's axis and its right border, as chart.js has them.
  const [left, right] = [72, 8];
  const width = box.width - left - right;
  await chart.click({ position: { x: left + (peak.time_ns / report.session.duration_ns) * width, y: 60 } });
  equal("a click on the peak says what was resident", (await text(page, ".chart ~ .said")).split(":")[0], `at ${(peak.time_ns / 1e9).toFixed(1)} s`);
  await chart.focus();
  for (const key of ["ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft"]) await page.keyboard.press(key);
  equal("Shift and arrow keys select a range", page.url().includes("range="), true);
  await page.keyboard.press("Escape");
  const first = page.locator("#lines details").first();
  if (!(await first.evaluate((it) => it.open))) await first.locator("summary").first().click();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await first.locator("button", { hasText: "copy as text" }).click();
  await page.waitForFunction(() => document.querySelector("#lines details")?.textContent?.includes("copied"));
  equal("a line is copied as text", await page.evaluate(() => navigator.clipboard.readText()), await first.locator("pre").first().textContent());
  await page.close();

  const linked = await open("dark", address);
  equal("a link leads to the same view", await linked.getAttribute("#tab-categories", "aria-selected"), "true");
  equal("and to the same range", linked.url().includes("range="), true);
  await linked.keyboard.press("1");
  await linked.waitForTimeout(200);
  await linked.screenshot({ path: join(out, "page-dark.png"), fullPage: true });
  await linked.close();

  const differing = join(out, "page-diff.html");
  execFileSync(tracer, ["diff", recording, process.env.NEW ?? recording, "--force", "-o", differing]);
  const diff = JSON.parse(execFileSync(tracer, ["diff", recording, process.env.NEW ?? recording, "--format", "json"], { encoding: "utf8", maxBuffer: 1 << 30 }));
  const compared = await open("light", "", differing);
  equal("a page of what differs says by how much", (await text(compared, "#found-lines")).includes(`${bytes(diff.totals.base.live_bytes)} \u2192 ${bytes(diff.totals.new.live_bytes)}`) || diff.totals.difference.live_bytes === 0, true);
  for (const view of ["inverted", "table", "categories", "threads", "code", "census", "memory", "quality", "flame"]) {
    await compared.click(`#tab-${view}`);
    equal(`of what differs, ${view} has something`, (await text(compared, "#view")).trim().length > 10, true);
  }
  await compared.screenshot({ path: join(out, "page-diff.png"), fullPage: true });
  await compared.close();

  for (const [scheme, from, width] of [["light", file, 1280], ["dark", file, 1280], ["light", file, 360], ["light", differing, 1280]]) {
    const checked = await open(scheme, "#axe", from);
    await checked.setViewportSize({ width, height: 1400 });
    await checked.evaluate(axe);
    const found = await checked.evaluate(() => window.axe.run());
    const serious = found.violations.filter((it) => ["serious", "critical"].includes(it.impact));
    equal(`axe-core finds nothing serious (${scheme}, ${width} wide${from === differing ? ", of what differs" : ""})`, serious.map((it) => `${it.id}: ${it.nodes.map((node) => node.target).slice(0, 3)}`), []);
    await checked.close();
  }
  equal("nothing on the console, no request", said, []);
} finally {
  await browser.close();
}
done();
