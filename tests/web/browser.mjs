// The web catalog in a real browser: search, facets, a plugin, the switch, the keyboard, no scripts, accessibility.
//
//   MIRROR=http://127.0.0.1:8080 NODE_PACKAGES=DIR [CHROMIUM=PATH] [SHOTS=DIR] node tests/web/browser.mjs
//
// The mirror serves the catalog of tests/it/mirror/web/gallery.rs. `tests/run browser` starts it and runs this.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_PACKAGES + "/package.json");
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const mirror = process.env.MIRROR;
const shots = process.env.SHOTS;
const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = candidates.find((path) => path && existsSync(path));

const TIDES = "/plugins/acme-tides-datasource/2.1.0";
const PAGES = {
  list: "/",
  searched: "/?q=tides&type=datasource&grafana=12.1.0",
  nothing: "/?q=zzzzzz",
  plugin: TIDES,
  deprecated: "/plugins/old-worldmap-panel/1.0.6?grafana=12.1.0",
  "not-stored": "/plugins/sample-number01-datasource",
  changes: "/changes",
  status: "/status",
  missing: "/missing",
  "no-page": "/nothing/here",
};

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const problems = [];

// Opens a page whose requests and errors are kept: another host, or a broken policy, is a failure of the test.
const open = async (options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== mirror) problems.push(`a request to another host: ${request.url()}`);
  });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => problems.push(`an error in a script: ${error}`));
  page.on("console", (message) => {
    const expected = message.text().includes("404 (Not Found)") && page.url().endsWith("/nothing/here");
    if (message.type() === "error" && !expected) problems.push(`${page.url()}: ${message.text()}`);
  });
  return page;
};
const close = (page) => page.context().close();
const go = (page, path) => page.goto(mirror + path);
const names = (page) => page.locator(".plugins h3 a").allTextContents();
const step = async (name, run) => {
  const started = performance.now();
  await run();
  console.log(`${name}: ${Math.round(performance.now() - started)} ms`);
};

try {
  await step("search as you type", async () => {
    const page = await open();
    await go(page, "/");
    assert.equal((await names(page)).length, 50);
    await page.getByRole("searchbox").pressSequentially("harbour", { delay: 20 });
    await page.waitForFunction(() => document.querySelectorAll(".plugins h3 a").length === 2);
    assert.deepEqual((await names(page)).sort(), ["Harbour control", "Tides"]);
    assert.equal(new URL(page.url()).search, "?q=harbour", "the address can be passed on");
    assert.equal(await page.evaluate(() => document.activeElement.id), "q", "the caret stays");
    await page.getByRole("navigation", { name: "Filters" }).getByRole("link", { name: /^App/ }).click();
    await page.waitForURL(/type=app/);
    assert.deepEqual(await names(page), ["Harbour control"]);
    await page.getByRole("link", { name: /Remove the filter/ }).click();
    await page.waitForURL((url) => !url.search.includes("type"));
    assert.equal((await names(page)).length, 2);
    await close(page);
  });

  await step("a plugin, its versions and the switch", async () => {
    const page = await open();
    await go(page, "/?q=tides");
    await page.getByRole("link", { name: "Tides", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: /Tides 2\.1\.0/ }).waitFor();
    await page.getByRole("textbox", { name: "Grafana" }).fill("11.0.0");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: /Tides 2\.0\.0/ }).waitFor();
    await page.getByRole("link", { name: "2.1.0", exact: true }).first().click();
    await page.getByText("It does not work with Grafana 11.0.0.").waitFor();
    assert.match(page.url(), /2\.1\.0\?grafana=11\.0\.0$/, "links keep the version");
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "linux-amd64" }).click();
    assert.equal((await download).suggestedFilename(), "acme-tides-datasource-2.1.0.linux-amd64.zip");
    for (const image of await page.locator("main img").all()) {
      await image.scrollIntoViewIfNeeded();
      await image.evaluate((it) => it.decode());
    }
    await close(page);
  });

  await step("copying", async () => {
    const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
    await go(page, TIDES);
    await page.getByRole("button", { name: "Copy the SHA-256 of linux-amd64" }).click();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^[0-9a-f]{64}$/);
    await close(page);
  });

  await step("the keyboard alone", async () => {
    const page = await open();
    await go(page, "/");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    await page.keyboard.press("/");
    await page.keyboard.type("clock");
    await page.waitForFunction(() => document.querySelectorAll(".plugins h3 a").length === 1);
    for (let at = 0; at < 20; at++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement.textContent === "Clock")) break;
    }
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", "the focus is seen");
    await page.keyboard.press("Enter");
    await page.waitForURL(/acme-clock-panel/);
    await close(page);
  });

  await step("without scripts", async () => {
    const page = await open({ javaScriptEnabled: false });
    await go(page, "/");
    await page.getByRole("searchbox").fill("harbour");
    await page.getByRole("button", { name: "Search" }).click();
    await page.waitForURL(/q=harbour/);
    assert.equal((await names(page)).length, 2);
    await page.getByRole("textbox", { name: "Grafana" }).fill("9.0.0");
    await page.getByRole("button", { name: "Set" }).click();
    await page.waitForURL(/q=harbour&grafana=9\.0\.0/);
    await page.getByRole("link", { name: "Show them too" }).click();
    await page.getByRole("link", { name: "Tides", exact: true }).click();
    assert.equal(await page.locator("button.copy:visible").count(), 0, "a button that does nothing is not shown");
    await close(page);
  });

  await step("a readme runs nothing, wherever it is put", async () => {
    const page = await open();
    await go(page, TIDES);
    const ran = await page.evaluate(async () => {
      const answer = await fetch("/api/plugins/acme-tides-datasource");
      const place = document.createElement("div");
      document.body.append(place);
      place.innerHTML = (await answer.json()).readme;
      return place.querySelectorAll("script, iframe, [onerror], [onclick]").length;
    });
    assert.equal(ran, 0);
    await close(page);
  });

  const looks = [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["narrow", { colorScheme: "light", viewport: { width: 320, height: 700 } }],
  ];
  for (const [look, options] of looks) {
    await step(`accessibility, ${look}`, async () => {
      const page = await open({ ...options, bypassCSP: true, reducedMotion: "reduce" });
      for (const [name, path] of Object.entries(PAGES)) {
        await go(page, path);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run(document));
        for (const found of violations.filter((one) => ["serious", "critical"].includes(one.impact))) {
          problems.push(`${look} ${path}: ${found.id}: ${found.nodes.map((node) => node.html).join(" | ").slice(0, 400)}`);
        }
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) problems.push(`${look} ${path}: the page is ${wide} pixels too wide`);
        if (shots) {
          mkdirSync(shots, { recursive: true });
          await page.screenshot({ path: `${shots}/${name}-${look}.png`, fullPage: true });
        }
      }
      await close(page);
    });
  }
} finally {
  await browser.close();
}
assert.deepEqual([...new Set(problems)], []);
console.log("all pages work in a browser");
