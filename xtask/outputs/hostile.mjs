// Names that are scripts, markup and control characters, in the report's page, that of differences, and both pictures: text, and nothing else.
//
// node hostile.mjs TRACER RECORDING FOLDER: FOLDER has node_modules, and takes files.

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { done, equal, launch } from "./driver.mjs";

const [tracer, recording, folder] = process.argv.slice(2);
const out = join(folder, "files");
mkdirSync(out, { recursive: true });
const copy = join(out, "hostile.trec");
execFileSync("python3", [join(dirname(fileURLToPath(import.meta.url)), "hostile.py"), recording, copy]);
const files = ["hostile.html", "hostile.svg", "hostile-diff.html", "hostile-diff.svg"].map((name) => join(out, name));
for (const file of files.slice(0, 2)) execFileSync(tracer, ["report", copy, "--force", "-o", file]);
for (const file of files.slice(2)) execFileSync(tracer, ["diff", recording, copy, "--force", "-o", file]);

/** Characters that hide or turn text. */
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
const VIEWS = ["flame", "inverted", "table", "categories", "threads", "code", "census", "memory", "quality"];

const browser = await launch(folder);
try {
  for (const file of files) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
    const said = [];
    page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => { if (!request.url().startsWith("file:")) said.push(`request: ${request.url()}`); });
    page.on("dialog", (dialog) => said.push(`dialog: ${dialog.message()}`));
    await page.goto(pathToFileURL(file).href);
    const isPage = file.endsWith(".html");
    let shown = "";
    if (isPage) {
      await page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
      for (const view of VIEWS) {
        await page.click(`#tab-${view}`);
        shown += await page.evaluate(() => document.body.innerText);
      }
      await page.click("#tab-flame");
      await page.locator("canvas.flame").click({ position: { x: 300, y: 48 } });
      await page.locator("canvas.flame").hover({ position: { x: 300, y: 48 } });
      shown += await page.evaluate(() => [...document.querySelectorAll("summary")].map((it) => (it.click(), it.textContent)).join() + document.body.innerText);
      const address = page.url();
      await page.goto("about:blank");
      await page.goto(address);
      await page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
      equal(`${name}: an address with such a name leads back`, page.url(), address);
    } else {
      shown = await page.evaluate(() => document.documentElement.textContent);
    }
    await page.waitForTimeout(200);
    equal(`${name}: the names are shown`, shown.includes("<script>") && shown.includes("evil"), true);
    const hidden = shown.replaceAll("\r", "").match(HIDDEN);
    equal(`${name}: no control character is shown`, hidden && shown.slice(Math.max(0, hidden.index - 40), hidden.index + 9), null);
    equal(`${name}: nothing ran`, await page.evaluate(() => [document.title.startsWith("ran"), document.querySelectorAll("img").length, document.querySelectorAll("script").length]), [false, 0, isPage ? 1 : await page.evaluate(() => document.querySelectorAll("script").length)]);
    equal(`${name}: nothing on the console, no request`, said, []);
    await page.close();
  }
} finally {
  await browser.close();
}
done();
