// Measures the page with 20,000 findings in Chromium, and prints a table. "make bench-html" runs
// it. It never fails because of a time.
import { cpus } from 'node:os';
import { launch, writePages } from './browser.mjs';

const rounds = Number(process.argv[2] || 5);
const pages = writePages();
const browser = await launch();
const figures = new Map();
const add = (name, value) => figures.set(name, [...(figures.get(name) || []), value]);

// timed runs an action in the page, and returns the milliseconds until the next frame is painted.
const timed = (page, action) => page.evaluate((source) => new Promise((resolve) => {
  const began = performance.now();
  new Function(source)();
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began), 0));
}), action);
const type = (text) => `const q = document.getElementById('query'); q.value = ${JSON.stringify(text)}; q.dispatchEvent(new Event('input'));`;

for (let n = 0; n < rounds; n++) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.goto(pages.address('large'));
  await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0);
  const load = await page.evaluate(() => ({
    paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    interactive: performance.getEntriesByType('navigation')[0].domInteractive,
  }));
  add('first paint', load.paint);
  add('list ready', load.interactive);
  add('search, first time', await timed(page, type('component-0042 package-00')));
  add('search', await timed(page, type('cve-2019')));
  add('clear the search', await timed(page, type('')));
  add('filter: blocking', await timed(page, "document.querySelector('#facets input').click()"));
  add('filter: and critical', await timed(page, "document.querySelectorAll('#facets details')[1].querySelector('input').click()"));
  add('all filters off', await timed(page, "document.getElementById('clear').click()"));
  add('sort by package', await timed(page, "document.querySelectorAll('.head button')[2].click()"));
  add('group by package', await timed(page, "const g = document.getElementById('group'); g.value = 'package'; g.dispatchEvent(new Event('change'));"));
  add('scroll to the end', await timed(page, "document.querySelector('.viewport').scrollTop = 1e9"));
  await context.close();
}
await browser.close();

console.log(`20,000 findings, ${Math.round(pages.source('large').length / 1e5) / 10} MB, ${rounds} rounds, ${cpus().length} cores ${cpus()[0].model.trim()}`);
console.log('| step | median | worst |\n|---|---|---|');
for (const [name, values] of figures) {
  const sorted = values.toSorted((a, b) => a - b);
  console.log(`| ${name} | ${Math.round(sorted[Math.floor(sorted.length / 2)])} ms | ${Math.round(sorted.at(-1))} ms |`);
}
