// Drives the page in Chromium: nothing on the console, numbers as in the JSON report, every view, zoom, search, range,
// addresses, keys, and what axe-core finds.
//
// node page.mjs TRACER RECORDING FOLDER [PICTURE]: FOLDER has node_modules, and takes files; PICTURE is of the page's beginning.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bytes, done, equal, launch, packages, ready } from "./driver.mjs";

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
  await page.keyboard.type("main|start");
  equal("a search says what matched", /frames, .* %/.test(await text(page, "#found")), true);
  await page.keyboard.press("Escape");
  await page.keyboard.press("n");
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

  for (const scheme of ["light", "dark"]) {
    const checked = await open(scheme, "#axe");
    await checked.evaluate(axe);
    const found = await checked.evaluate(() => window.axe.run());
    const serious = found.violations.filter((it) => ["serious", "critical"].includes(it.impact));
    equal(`axe-core finds nothing serious (${scheme})`, serious.map((it) => `${it.id}: ${it.nodes.map((node) => node.target).slice(0, 3)}`), []);
    await checked.close();
  }
  equal("nothing on the console, no request", said, []);
} finally {
  await browser.close();
}
done();
