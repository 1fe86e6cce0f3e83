// Starts Chromium for the tests, the benchmark and the screenshots.
import { chromium } from 'playwright-core';
import { mkdtempSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export const root = new URL('../..', import.meta.url).pathname;

// writePages writes the reports as HTML pages, and returns their folder.
export function writePages() {
  const folder = mkdtempSync(join(tmpdir(), 'imagegate-html-'));
  const made = spawnSync(process.env.GO || 'go', ['run', '-trimpath', './integration/html', folder], { cwd: root, encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`writing the pages: ${made.stderr}`);
  return {
    folder,
    address: (name, fragment = '') => pathToFileURL(join(folder, `${name}.html`)) + fragment,
    expected: (name) => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')),
    source: (name) => readFileSync(join(folder, `${name}.html`), 'utf8'),
  };
}

// launch starts the browser that CHROMIUM names. Default: Debian's chromium.
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });
}
