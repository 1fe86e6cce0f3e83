// Makes the pictures of the reports for the documents: node images.mjs FOLDER.
import { mkdirSync, readFileSync } from 'node:fs';
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
  shrink(path);
}

// terminal returns a page that shows a command and its colored output.
function terminal(command, output) {
  const escaped = output.replace(/&/g, '&amp;').replace(/</g, '&lt;');
  const colored = escaped.replace(/\x1b\[(\d+)m(.*?)\x1b\[0m/gs, '<span class="s$1">$2</span>');
  return `<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; background: #10141a; }
    pre { display: inline-block; margin: 0; padding: 20px 24px; color: #d5dae2; font: 14px/1.45 "JetBrains Mono", monospace; }
    .s1 { color: #fff; font-weight: 700; } .s31 { color: #ff7b72; font-weight: 700; } .s32 { color: #56d364; font-weight: 700; } .s33 { color: #e3b341; }
    i { color: #7d8794; font-style: normal; }
  </style><pre><i>$</i> ${command}\n${colored.trimEnd()}</pre>`;
}

const references = 'staging.example/shop/checkout:2.14.0 registry.example/shop/checkout:2.14.0 -p policy.yaml --key cosign.key';
for (const [name, report] of [['denied', 'denied'], ['passed', 'promoted'], ['failed', 'failed']]) {
  const page = await browser.newPage({ deviceScaleFactor: 1.5 });
  await page.setContent(terminal(`imagegate promote ${references}`, readFileSync(join(pages.folder, `${report}.ansi`), 'utf8')));
  const path = join(folder, `terminal-${name}.png`);
  await page.locator('pre').screenshot({ path });
  await page.close();
  shrink(path);
}
await browser.close();

// shrink replaces a picture with one of 64 colors.
function shrink(path) {
  const made = spawnSync('pngquant', ['--force', '--strip', '--speed', '1', '--ext', '.png', '64', path], { stdio: 'inherit' });
  if (made.status !== 0) throw new Error('pngquant failed');
}
