// The same pages in Firefox ESR, by WebDriver BiDi: no console error, the same answer, a picture, a search, a range.
//
// node firefox.mjs FOLDER PAGE...: FOLDER has node_modules, and takes files.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { done, equal, packages } from "./driver.mjs";

const [folder, ...files] = process.argv.slice(2);
const puppeteer = packages(folder)("puppeteer-core");
const browser = await puppeteer.launch({ browser: "firefox", executablePath: "/usr/bin/firefox-esr", headless: true });
try {
  console.log(`     ${await browser.version()}`);
  for (const file of files) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    const page = await browser.newPage();
    await page.setViewport({ width: 1280, height: 1000 });
    const said = [];
    page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => said.push(error.message));
    await page.goto(pathToFileURL(file).href);
    await page.waitForFunction(() => document.documentElement.dataset.ready === "yes", { timeout: 120_000 });
    const text = (selector) => page.$eval(selector, (element) => element.innerText);
    equal(`${name}: the answer is there`, (await text("#found-lines")).length > 20, true);
    for (const view of ["inverted", "table", "categories", "threads", "code", "census", "memory", "quality", "flame"]) {
      await page.click(`#tab-${view}`);
      equal(`${name}: view ${view} has something`, (await text("#view")).trim().length > 10, true);
    }
    const painted = await page.$eval("canvas.flame", (canvas) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      done(new Set(new Uint32Array(data.buffer)).size);
    }))));
    equal(`${name}: the graph is drawn`, painted > 3, true);
    await page.keyboard.press("/");
    await page.keyboard.type("a");
    equal(`${name}: a search says what matched`, / frames, /.test(await text("#found")), true);
    await page.keyboard.press("Escape");
    await page.keyboard.press("d");
    await page.screenshot({ path: join(folder, "files", `firefox-${name}.png`) });
    equal(`${name}: nothing on the console`, said, []);
    await page.close();
  }
} finally {
  await browser.close();
}
done();
