// Makes the pictures of the HTML report for the documents: node images.mjs FOLDER.
import { mkdirSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { launch, writePages } from './browser.mjs';

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
const pages = writePages();
const browser = await launch();
const pictures = [
  { name: 'html-denied-light', report: 'denied', colorScheme: 'light' },
  { name: 'html-denied-dark', report: 'denied', colorScheme: 'dark' },
  { name: 'html-findings-light', report: 'denied', colorScheme: 'light', fragment: '#status=blocking&status=warning&where=own' },
  { name: 'html-findings-dark', report: 'denied', colorScheme: 'dark', fragment: '#status=blocking&status=warning&where=own' },
];
for (const { name, report, fragment, colorScheme } of pictures) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme, reducedMotion: 'reduce', deviceScaleFactor: 1.5 });
  const page = await context.newPage();
  await page.goto(pages.address(report, fragment));
  const path = join(folder, `${name}.png`);
  await page.screenshot({ path });
  await context.close();
  const made = spawnSync('pngquant', ['--force', '--strip', '--speed', '1', '--ext', '.png', '64', path], { stdio: 'inherit' });
  if (made.status !== 0) throw new Error('pngquant failed');
}
await browser.close();
