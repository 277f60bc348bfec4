// The page of a very large recording, in Chromium: its size, when the answer is seen, and how smoothly the graph zooms.
//
// node large.mjs TRACER RECORDING FOLDER: FOLDER has node_modules, and takes files. Times of tasks and frames are of the CPU, as
// the page's thread was charged, so that what the machine does besides is not in them; the first paint is by the clock.

import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { atMost, done, equal, launch, ready } from "./driver.mjs";

const [tracer, recording, folder] = process.argv.slice(2);
const out = join(folder, "files");
mkdirSync(out, { recursive: true });
const file = join(out, "large.html");
if (!process.env.PAGE) execFileSync(tracer, ["report", recording, "--force", "-o", file]);

const MIB = 1024 * 1024;
atMost("the file", statSync(file).size / MIB, 5, "MiB");

const browser = await launch(folder);
try {
  const paints = [];
  for (let round = 0; round < 3; round += 1) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.goto(pathToFileURL(file).href);
    await ready(page);
    paints.push(await page.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0].startTime, performance.getEntriesByName("answer")[0].startTime, performance.now()]));
    await page.close();
  }
  const best = (at) => Math.min(...paints.map((times) => times[at]));
  atMost("the first paint", best(0), 1000, "ms");
  atMost("the answer", best(1), 1000, "ms");
  console.log(`     all of the page is seen after ${best(2).toFixed(0)} ms`);

  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const said = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(error.message));
  await page.goto(pathToFileURL(file).href);
  await ready(page);
  await page.waitForTimeout(1500);
  const canvas = page.locator("canvas.flame");
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  const frame = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

  const trace = await traced(page, async () => {
    for (const x of [300, 12, 700]) {
      for (let row = 1; row <= 12; row += 1) {
        await page.mouse.click(box.x + x, box.y + 19 * row + 8);
        await frame();
      }
      await page.keyboard.press("0");
      await frame();
    }
    for (let step = 0; step < 20; step += 1) {
      await page.mouse.move(box.x + 40 + 50 * step, box.y + 60);
      await page.mouse.wheel(0, step < 10 ? 57 : -57);
      await frame();
    }
  });
  console.log(`     ${trace.tasks.length} tasks while zooming; script and layout of ${trace.frames.length} frames`);
  atMost("the longest task while zooming", Math.max(...trace.tasks), 50, "ms");
  atMost("script and layout of a frame, at the median", median(trace.frames), 8, "ms");

  const sizes = () => page.evaluate(() => [document.querySelector("canvas.flame").height, document.querySelector(".flame-box .height").clientHeight]);
  const [canvasHeight, height] = await sizes();
  equal("the canvas is as tall as its box, and the stacks are not", canvasHeight <= 480 && height > 1000 * 19, true);
  await page.keyboard.press("/");
  await page.keyboard.type("Request1000\\.handle");
  await frame();
  const deep = await traced(page, async () => {
    await page.keyboard.press("Enter");
    await frame();
    for (let step = 0; step < 40; step += 1) {
      await page.mouse.wheel(0, 500);
      await frame();
    }
  });
  atMost("the longest task on a stack of 1,024 frames", Math.max(...deep.tasks), 50, "ms");
  atMost("script and layout of a frame there, at the median", median(deep.frames), 8, "ms");
  await page.keyboard.press("Escape");
  await page.keyboard.press("0");
  await frame();
  // What only pages of such size do, by the clock of this thread.
  const slow = await traced(page, async () => {
    await page.keyboard.press("/");
    await page.keyboard.type("call12");
    await frame();
    await page.keyboard.press("Escape");
    await page.keyboard.press("n");
    await page.keyboard.press("i");
    await frame();
  });
  console.log(`     the longest task of a search, and of turning the graph over: ${Math.max(...slow.tasks).toFixed(0)} ms`);
  equal("nothing on the console", said, []);
} finally {
  await browser.close();
}
done();

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** CPU time of the tasks of the page's thread, and of script and layout of each of its frames, ms. @param {any} page @param {() => Promise<void>} act */
async function traced(page, act) {
  await browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline", "devtools.timeline"] });
  await act();
  const { traceEvents } = JSON.parse(String(await browser.stopTracing()));
  const threads = traceEvents.filter((event) => event.name === "thread_name" && event.args.name === "CrRendererMain");
  // The page's process is the one whose script ran longest.
  const busy = (of) => traceEvents.filter((event) => event.pid === of.pid && event.tid === of.tid && event.name === "FunctionCall").reduce((sum, event) => sum + (event.tdur ?? 0), 0);
  const thread = threads.sort((one, other) => busy(other) - busy(one))[0];
  const events = traceEvents.filter((event) => event.pid === thread.pid && event.tid === thread.tid && event.ph === "X" && event.tdur !== undefined);
  const tasks = events.filter((event) => event.name === "RunTask" || event.name === "ThreadControllerImpl::RunTask");
  const WORK = ["FunctionCall", "EvaluateScript", "EventDispatch", "FireAnimationFrame", "TimerFire", "Layout", "UpdateLayoutTree"];
  const work = events.filter((event) => WORK.includes(event.name)).sort((one, other) => one.ts - other.ts || other.dur - one.dur);
  // Those within another are in its time.
  let end = 0;
  const outer = work.filter((event) => event.ts >= end && ((end = event.ts + event.dur), true));
  const ends = events.filter((event) => event.name === "FireAnimationFrame").map((event) => event.ts + event.dur);
  const frames = ends.map((until, at) => outer.filter((event) => event.ts < until && event.ts >= (ends[at - 1] ?? 0)).reduce((sum, event) => sum + event.tdur, 0) / 1e3);
  // Frames in which nothing was to do say nothing.
  return { tasks: tasks.map((event) => event.tdur / 1e3), frames: frames.filter((time) => time > 0.2) };
}
