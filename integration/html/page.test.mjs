// Opens the HTML reports in Chromium and uses them as people do. "make test-html" runs it.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { AxeBuilder } from '@axe-core/playwright';
import { launch, writePages } from './browser.mjs';

let browser;
let pages;
const opened = [];

before(async () => {
  pages = writePages();
  browser = await launch();
});
after(() => browser.close());

// Each page of a test must have sent no request and logged no error.
afterEach(async () => {
  for (const { context, problems } of opened.splice(0)) {
    await context.close();
    assert.deepEqual(problems, []);
  }
});

async function open(name, { fragment = '', ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const problems = [];
  opened.push({ context, problems });
  const address = pages.address(name);
  page.on('request', (r) => { if (r.url().split('#')[0] !== address && !r.url().startsWith('data:image/svg')) problems.push(`request ${r.url()}`); });
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) problems.push(m.text()); });
  page.on('pageerror', (e) => problems.push(e.message));
  page.on('dialog', (d) => { problems.push(`dialog ${d.message()}`); d.dismiss(); });
  await page.goto(pages.address(name, fragment));
  return page;
}
const count = (page) => page.locator('#count').innerText();
const titles = (page) => page.locator('.canvas [role=row] button').allInnerTexts();
// closeDialog waits for the page to handle the end of the dialog, which comes later than the key.
async function closeDialog(page) {
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog[open]') && !location.hash.includes('finding='));
}
const fragmentOf = (page) => page.evaluate(() => location.hash);

test('the first heading is the verdict, in every report', async () => {
  for (const name of ['denied', 'passed', 'promoted', 'failed', 'unfinished', 'overridden', 'verified', 'signed', 'empty', 'hostile', 'large']) {
    const page = await open(name);
    const { word, counts, evaluated } = pages.expected(name);
    assert.ok((await page.locator('h1').innerText()).startsWith(word), name);
    const tiles = await page.locator('.tile strong').allInnerTexts();
    assert.deepEqual(tiles.map((n) => Number(n.replaceAll(',', ''))), evaluated ? counts : [], `${name}: the tiles`);
    const rows = await page.evaluate(() => JSON.parse(document.getElementById('data').textContent).items.status);
    assert.deepEqual([0, 1, 2, 3].map((s) => rows.filter((r) => r === s).length), counts, `${name}: the rows`);
  }
});

test('a failed run looks like neither a denial nor a pass', async () => {
  const looks = new Map();
  for (const name of ['denied', 'passed', 'failed', 'unfinished', 'overridden']) {
    const page = await open(name);
    looks.set(name, await page.evaluate(() => {
      const style = (s) => getComputedStyle(document.querySelector(s));
      return [style('h1').color, style('main > .verdict').borderTopStyle, document.querySelector('.sign').innerHTML, document.querySelector('link[rel=icon]').href].join(' ');
    }));
  }
  assert.equal(looks.get('failed'), looks.get('unfinished'));
  assert.equal(new Set(looks.values()).size, 4);
});

test('search finds ids, aliases, packages, versions, paths and rules', async () => {
  const page = await open('denied');
  for (const [query, rows] of [['cve-2024-45590', 1], ['GHSA-qwcr', 1], ['libexpat1', 4], ['node_modules/lodash', 2], ['1.6.7', 2], ['critical openssl', 1], ['no such thing', 0]]) {
    await page.fill('#query', query);
    assert.equal(await count(page), `${rows} of 63`, query);
    assert.equal((await titles(page)).length, rows, query);
  }
  assert.ok(await page.locator('.empty').isVisible());
  await page.click('#clear');
  assert.match(await count(page), /^58 problems and 5 findings/);
});

test('filters combine, and show how many rows each value has', async () => {
  const page = await open('denied');
  const box = (name) => page.locator('#facets').getByRole('checkbox', { name: new RegExp(`^${name}`) });
  await box('Blocking').check();
  assert.equal(await count(page), '22 of 63');
  await box('Critical').check();
  assert.equal(await count(page), '5 of 63');
  await box('High').check();
  const expected = Number(await page.locator('#facets label', { hasText: 'Base image' }).locator('.n').innerText());
  await box('Base image').check();
  assert.equal(await count(page), `${expected} of 63`);
  assert.equal(await fragmentOf(page), '#status=blocking&severity=critical&severity=high&where=base');
  for (const row of await page.locator('.canvas [role=row]').allInnerTexts()) assert.match(row, /(Critical|High)[^]*Base image[^]*Blocking/);
});

test('every status can be shown alone', async () => {
  const page = await open('denied');
  const { counts } = pages.expected('denied');
  for (const [n, name] of ['blocking', 'warning', 'excepted', 'notAffected'].entries()) {
    await page.locator(`.tile.${name}`).click();
    await page.waitForFunction((want) => document.getElementById('count').textContent.startsWith(want), `${counts[n].toLocaleString('en-US')} of`);
  }
});

test('columns sort both ways', async () => {
  const page = await open('denied');
  const header = page.locator('[role=columnheader]', { hasText: 'Package' });
  await header.locator('button').click();
  assert.equal(await header.getAttribute('aria-sort'), 'ascending');
  const packages = () => page.locator('.canvas .package .line:first-child').allInnerTexts();
  const up = await packages();
  assert.deepEqual(up, [...up].sort());
  await header.locator('button').click();
  assert.equal(await header.getAttribute('aria-sort'), 'descending');
  const down = await packages();
  assert.deepEqual(down, [...down].sort().reverse());
  await page.selectOption('#sort', 'epss');
  const values = (await page.locator('.canvas .epss').allInnerTexts()).map(parseFloat);
  assert.deepEqual(values, [...values].sort((a, b) => b - a));
});

test('rows can be grouped by package, layer, severity and platform', async () => {
  const page = await open('denied');
  for (const [by, first] of [['severity', 'Not a vulnerability'], ['package', 'mongodb-memory-server'], ['layer', 'Layer'], ['platform', 'linux/amd64']]) {
    await page.selectOption('#group', by);
    assert.ok((await page.locator('.canvas .title').first().innerText()).startsWith(first), by);
  }
  const groups = await page.evaluate(() => document.querySelector('.grid').getAttribute('aria-rowcount'));
  assert.equal(Number(groups), 1 + 3 + 62 + 62 + 1, 'a row on two platforms is in two groups');
});

test('a link opens a finding by fingerprint, id or alias', async () => {
  const { key: keys, title } = await (await open('denied')).evaluate(() => JSON.parse(document.getElementById('data').textContent).items);
  const key = keys[title.indexOf('CVE-2024-2961')];
  for (const [id, heading] of [[key, 'CVE-2024-2961'], ['CVE-2024-2961', 'CVE-2024-2961'], ['cve-2024-45590', 'GHSA-qwcr-r2fm-qrc7']]) {
    const page = await open('denied', { fragment: `#finding=${id}` });
    assert.equal(await page.locator('dialog h2').innerText(), heading);
    assert.match(await fragmentOf(page), /^#finding=[0-9a-f]{16}$/);
    await closeDialog(page);
    assert.equal(await fragmentOf(page), '');
  }
});

test('a link restores search, filters, order, groups and finding', async () => {
  const fragment = '#q=deb12&status=blocking&severity=critical&sort=package&group=package&finding=CVE-2024-5535';
  const page = await open('denied', { fragment });
  assert.equal(await count(page), '4 of 63');
  assert.equal(await page.inputValue('#query'), 'deb12');
  assert.equal(await page.inputValue('#sort'), 'package');
  assert.equal(await page.inputValue('#group'), 'package');
  assert.ok(await page.locator('dialog[open]').isVisible());
  const again = await open('denied', { fragment: await fragmentOf(page) });
  assert.equal(await count(again), '4 of 63');
});

test('the keyboard alone reaches, opens and closes a finding', async () => {
  const page = await open('denied');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.keyboard.press('/');
  await page.keyboard.type('libexpat1');
  assert.equal(await count(page), '4 of 63');
  const inRow = () => page.evaluate(() => document.activeElement.closest('.canvas [role=row]')?.getAttribute('aria-rowindex'));
  for (let n = 0; n < 120 && !(await inRow()); n++) await page.keyboard.press('Tab');
  assert.equal(await inRow(), '2', 'Tab reaches the list, which is one stop');
  await page.keyboard.press('Tab');
  assert.equal(await inRow(), undefined);
  await page.keyboard.press('/');
  await page.keyboard.press('ArrowDown');
  assert.equal(await inRow(), '2', 'the arrow key leads from the search to the list');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await inRow(), '4');
  const title = await page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('dialog h2').innerText(), title);
  await page.keyboard.press('ArrowRight');
  assert.notEqual(await page.locator('dialog h2').innerText(), title);
  await page.keyboard.press('ArrowLeft');
  await closeDialog(page);
  assert.equal(await inRow(), '4', 'the focus returns to the row');
  await page.keyboard.press('Home');
  assert.equal(await inRow(), '2');
});

test('the list has few rows in the document, with the right numbers', async () => {
  const page = await open('large');
  const table = page.locator('[role=table]');
  const total = await page.evaluate(() => JSON.parse(document.getElementById('data').textContent).items.key.length);
  assert.equal(total, 20_003);
  assert.equal(await table.getAttribute('aria-rowcount'), String(total + 1));
  await page.locator('.canvas button').first().focus();
  await page.keyboard.press('End');
  assert.equal(await page.evaluate(() => document.activeElement.closest('[role=row]').getAttribute('aria-rowindex')), String(total + 1));
  for (let n = 0; n < 3; n++) await page.keyboard.press('PageUp');
  const state = await page.evaluate(() => ({ rows: [...document.querySelectorAll('.canvas [role=row]')].map((r) => Number(r.getAttribute('aria-rowindex'))), focus: document.activeElement.tagName }));
  assert.ok(state.rows.length < 60, `${state.rows.length} rows`);
  assert.deepEqual(state.rows, [...state.rows].sort((a, b) => a - b), 'the rows are in order');
  assert.equal(state.focus, 'BUTTON');
  await page.locator('.viewport').evaluate((v) => { v.scrollTop = 400_000; });
  await page.waitForFunction(() => [...document.querySelectorAll('.canvas [role=row]')].some((r) => Number(r.getAttribute('aria-rowindex')) > 7000));
});

test('copying takes the exact command', async () => {
  const page = await open('denied', { permissions: ['clipboard-read', 'clipboard-write'] });
  await page.locator('.remedies .copy').first().click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.locator('.remedies .paste code').first().innerText());
  await page.waitForFunction(() => document.getElementById('announce').textContent === 'Copied');
  await page.locator('.copy-all').first().click();
  const all = (await page.evaluate(() => navigator.clipboard.readText())).split('\n');
  assert.ok(all.length > 1 && all.every((line) => /^(apt-get|npm) /.test(line)), all.join('\n'));
});

test('dark mode follows the system, and the button overrides it', async () => {
  const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background(await open('denied', { colorScheme: 'light' }));
  const page = await open('denied', { colorScheme: 'dark' });
  const dark = await background(page);
  assert.notEqual(dark, light);
  assert.equal(await page.getAttribute('#theme', 'aria-pressed'), 'true');
  await page.click('#theme');
  assert.equal(await background(page), light);
  await page.reload();
  assert.equal(await background(page), light, 'the choice is kept');
});

test('a printed page has the verdict and the rows, and no controls', async () => {
  const page = await open('denied', { colorScheme: 'dark', fragment: '#status=blocking' });
  await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  assert.equal(await page.locator('#printed tbody tr').count(), 22);
  assert.ok(await page.locator('#printed table').isVisible());
  for (const hidden of ['.bar', 'nav', '#explorer', '.copy >> nth=0']) assert.ok(!(await page.locator(hidden).isVisible()), hidden);
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.why')).color), 'rgb(23, 27, 33)', 'dark text also in dark mode');
  const pdf = await page.pdf({ format: 'A4' });
  assert.ok(pdf.length > 20_000);
});

test('without scripts, a table lists what blocks', async () => {
  const page = await open('denied', { javaScriptEnabled: false });
  assert.equal(await page.locator('noscript table tbody tr').count(), 22);
  assert.ok(await page.locator('noscript table').isVisible());
  assert.ok(!(await page.locator('#explorer').isVisible()));
  assert.ok(!(await page.locator('#theme').isVisible()));
  assert.ok(await page.locator('.remedies').first().isVisible());
  const large = await open('large', { javaScriptEnabled: false });
  assert.equal(await large.locator('noscript table tbody tr').count(), 1000);
  assert.equal(await large.locator('noscript > p').last().innerText(), '7,335 more block: see the JSON report.');
  const failed = await open('failed', { javaScriptEnabled: false });
  assert.ok(await failed.getByText('nothing is known about its findings').isVisible());
});

test('hostile text stays text', async () => {
  const page = await open('hostile');
  const found = await page.evaluate(() => ({
    images: document.querySelectorAll('img, iframe, object, embed, base, form').length,
    scripts: document.querySelectorAll('script').length,
    styles: document.querySelectorAll('style').length,
    handlers: [...document.querySelectorAll('*')].filter((e) => [...e.attributes].some((a) => a.name.startsWith('on') || /^\s*javascript:/i.test(a.value))).length,
  }));
  assert.deepEqual(found, { images: 0, scripts: 2, styles: 1, handlers: 0 });
  await page.locator('.canvas button').nth(8).click();
  assert.ok((await page.locator('dialog').innerText()).includes('onerror=alert(1)'));
  assert.equal(await page.locator('dialog img, dialog script').count(), 0);
  assert.ok(!/[\u202a-\u202e\u2066-\u2069\u0000\u001b]/.test(await page.evaluate(() => document.documentElement.innerText)), 'direction marks are visible');
  await page.fill('#query', 'cut: 1048576 bytes');
  assert.notEqual((await titles(page)).length, 0, 'long names have a note');
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'no text is wider than the page');
});

test('the content security policy stops an injected script', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const messages = [];
  page.on('console', (m) => messages.push(m.text()));
  await page.goto(pages.address('denied'));
  const ran = await page.evaluate(() => {
    const s = document.createElement('script');
    s.textContent = 'window.injected = true';
    document.body.append(s);
    const i = new Image();
    i.src = 'https://beacon.example/x.png';
    document.body.append(i);
    return Boolean(window.injected);
  });
  await page.waitForTimeout(100);
  assert.equal(ran, false);
  assert.ok(messages.some((m) => m.includes('Content Security Policy') && m.includes('script-src')), messages.join('\n'));
  assert.ok(messages.some((m) => m.includes('img-src')), messages.join('\n'));
  await context.close();
});

test('nothing is wider than a phone', async () => {
  for (const name of ['denied', 'promoted', 'failed', 'hostile']) {
    const page = await open(name, { viewport: { width: 360, height: 740 } });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name);
    if (name === 'denied') {
      await page.click('#facets-toggle');
      assert.ok(await page.locator('#facets').isVisible());
      assert.equal(await page.getAttribute('#facets-toggle', 'aria-expanded'), 'true');
    }
  }
});

test('axe finds nothing, light and dark, wide and narrow, closed and open', async () => {
  const views = [['denied', 'light'], ['denied', 'dark'], ['denied', 'light', '#finding=CVE-2024-2961'], ['denied', 'dark', '#finding=CVE-2024-2961'],
    ['denied', 'light', '#group=package', 390], ['promoted', 'light'], ['promoted', 'dark'], ['overridden', 'light'], ['overridden', 'dark'], ['failed', 'light'], ['failed', 'dark'], ['large', 'light']];
  for (const [name, colorScheme, fragment = '', width = 1440] of views) {
    const page = await open(name, { colorScheme, fragment, viewport: { width, height: 900 }, reducedMotion: 'reduce' });
    if (name !== 'large') await page.evaluate(() => document.querySelectorAll('details').forEach((d) => { d.open = true; }));
    const { violations } = await new AxeBuilder({ page }).analyze();
    const told = violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).slice(0, 3).join('\n')}`);
    assert.deepEqual(told, [], `${name} ${colorScheme} ${width} ${fragment}`);
    await page.context().close();
  }
});
