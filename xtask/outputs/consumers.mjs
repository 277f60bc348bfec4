// Opens what tracer writes in the programs that it is for, and compares what they show with the JSON report.
//
// node consumers.mjs TRACER RECORDING PPROF PYTHON FOLDER: FOLDER has node_modules, and takes files.

import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [tracer, recording, pprof, python, folder] = process.argv.slice(2);
const { chromium } = createRequire(join(folder, "x.js"))("playwright-core");
const DH_VIEW = "/usr/libexec/valgrind/dh_view.html";
const TYPES = { alloc_objects: "allocated_count", alloc_space: "allocated_bytes", inuse_objects: "live_count", inuse_space: "live_bytes" };

/** @param {string} program @param {string[]} args */
const run = (program, ...args) => execFileSync(program, args, { encoding: "utf8", maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "pipe"] });

let failures = 0;
/** @param {string} what @param {unknown} shown @param {unknown} expected */
function equal(what, shown, expected) {
  const same = JSON.stringify(shown) === JSON.stringify(expected);
  console.log(`${same ? "ok  " : "FAIL"} ${what}: ${shown}${same ? "" : `, not ${expected}`}`);
  if (!same) failures += 1;
}

const out = join(folder, "files");
mkdirSync(out, { recursive: true });
/** @param {string} name @param {string[]} args */
function made(name, ...args) {
  const file = join(out, name);
  run(tracer, "report", recording, "--force", "-o", file, ...args);
  return file;
}

const report = JSON.parse(run(tracer, "report", recording, "--format", "json"));
const totals = report.totals;

/** The total that pprof prints: `of 1234B total`, `of 12 total`. */
function pprofTotal(...args) {
  const text = run(pprof, ...args);
  const found = text.match(/(?:of|Showing nodes accounting for) (-?\d+)B? total/) ?? text.match(/([-\d]+)B?, 100% of/);
  return found ? Number(found[1]) : text;
}

/** What the nodes that pprof shows add up to. */
function shown(...args) {
  return Number(run(pprof, ...args).match(/accounting for (-?\d+)B?,/)?.[1]);
}

function checkPprof() {
  const file = made("profile.pb.gz");
  for (const [type, field] of Object.entries(TYPES)) {
    equal(`pprof -top ${type}`, pprofTotal("-top", "-unit=B", `-sample_index=${type}`, file), totals[field]);
  }
  const largest = report.categories.find((row) => row.source === "allocator");
  const of = pprofTotal("-top", "-unit=B", `-tagfocus=category=^${largest.id}$`, "-sample_index=inuse_space", file);
  equal(`pprof -tagfocus category=${largest.id} shows a part of`, of, totals.live_bytes);
  const focused = shown("-top", "-unit=B", "-nodefraction=0", "-nodecount=1000000", `-tagfocus=category=^${largest.id}$`, file);
  equal(`pprof -tagfocus category=${largest.id}`, focused, largest.live_bytes);
  // `  category: Total 1234B`, and below it `   567B (45.9%): zlib`.
  const tags = run(pprof, "-tags", "-unit=B", file);
  for (const row of report.categories.filter((row) => row.source === "allocator" && row.live_bytes > 0)) {
    const name = row.id.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const found = tags.match(new RegExp(`([\\d.]+)B? \\([^)]*\\): ${name}$`, "m"));
    equal(`pprof -tags ${row.id}`, Number(found?.[1]), row.live_bytes);
  }
  const part = made("part.pb.gz", "--category", largest.id);
  equal(`pprof -top of --category ${largest.id}`, pprofTotal("-top", "-unit=B", part), largest.live_bytes);
  equal("pprof -diff_base itself", shown("-top", "-unit=B", `-diff_base=${file}`, file), 0);
  const rest = shown("-top", "-unit=B", "-nodefraction=0", "-nodecount=1000000", `-diff_base=${part}`, file);
  equal(`pprof -diff_base --category ${largest.id}`, rest, totals.live_bytes - largest.live_bytes);
  const held = report.sites.flatMap((site) => site.kept_by ?? []).filter((kept) => kept.state === "none");
  if (held.length > 0) {
    const none = shown("-top", "-unit=B", "-nodefraction=0", "-nodecount=1000000", "-tagfocus=kept_by=no Java object", file);
    equal("pprof -tagfocus kept_by", none >= held.reduce((sum, kept) => sum + kept.bytes, 0), true);
  }
  const differences = join(out, "diff.pb.gz");
  run(tracer, "diff", recording, recording, "--format", "pprof", "--force", "-o", differences);
  equal("pprof of tracer diff", shown("-top", "-unit=B", differences), 0);
  equal("pprof -comments", run(pprof, "-comments", file).includes(`(pid ${report.target.pid})`), true);
}

function checkOtlp() {
  const sums = JSON.parse(run(python, join(import.meta.dirname, "otlp.py"), made("profile.otlp")));
  for (const [type, field] of Object.entries(TYPES)) equal(`OTLP ${type}`, sums[type] ?? 0, totals[field]);
}

/** @param {import("playwright-core").Browser} browser */
async function checkDhat(browser) {
  const page = await browser.newPage();
  await page.goto(pathToFileURL(DH_VIEW).href);
  await page.setInputFiles("input[type=file]", made("profile.dhat"));
  await page.waitForFunction(() => document.body.innerText.includes("Total:"));
  const text = await page.evaluate(() => document.body.innerText);
  const number = (/** @type {RegExp} */ of) => Number(text.match(of)?.[1].replaceAll(",", ""));
  equal("dh_view Total", number(/Total:\s+([\d,]+) bytes/), totals.allocated_bytes);
  equal("dh_view At t-end", number(/At t-end:\s+([\d,]+) bytes/), totals.live_bytes);
  await page.close();
}

/** @param {import("playwright-core").Browser} browser */
async function checkSpeedscope(browser) {
  const page = await browser.newPage();
  /** @type {string[]} */
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(pathToFileURL(join(folder, "node_modules/speedscope/dist/release/index.html")).href);
  await page.setInputFiles("input[type=file]", made("profile.pb.gz"));
  await page.waitForFunction(() => !document.body.innerText.includes("Drag and drop"), null, { timeout: 20_000 });
  await page.waitForSelector("canvas");
  equal("speedscope opens it", errors, []);
  await page.screenshot({ path: join(out, "speedscope.png") });
  await page.close();
}

checkPprof();
checkOtlp();
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  await checkDhat(browser);
  await checkSpeedscope(browser);
} finally {
  await browser.close();
}
process.exit(failures ? 1 : 0);
