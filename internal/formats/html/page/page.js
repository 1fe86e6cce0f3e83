
'use strict';
// The list of findings: search, filters, order, links to a finding, and its details. Text from the
// report is only ever set as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId('data').textContent);
  // The data has one list for each field of the items. Naming each field is faster than a loop.
  const of = data.items;
  const items = of.key.map((key, n) => ({
    key, status: of.status[n], kind: of.kind[n], severity: of.severity[n], title: of.title[n], aliases: of.aliases[n], package: of.package[n],
    rule: of.rule[n], fix: of.fix[n], fixable: of.fixable[n], epss: of.epss[n], cvss: of.cvss[n], kev: of.kev[n], platforms: of.platforms[n],
    origin: of.origin[n], layer: of.layer[n], places: of.places[n], url: of.url[n], text: of.text[n], remedy: of.remedy[n],
    published: of.published[n], source: of.source[n], blocks: of.blocks[n], inherited: of.inherited[n], novelty: of.novelty[n],
    because: of.because[n], expired: of.expired[n],
  }));

  const statuses = ['blocking', 'warning', 'excepted', 'notAffected', 'noRule'];
  const statusLabels = ['Blocking', 'Warning', 'Excepted', 'Not affected', 'No rule'];
  const severities = ['unknown', 'negligible', 'low', 'medium', 'high', 'critical'];
  const number = (n) => n.toLocaleString('en-US');
  const capital = (s) => s.charAt(0).toUpperCase() + s.slice(1);

  // element makes an element; children are elements or texts.
  function element(tag, properties, ...children) {
    const e = document.createElement(tag);
    for (const [key, value] of Object.entries(properties || {})) {
      if (key.includes('-') || key === 'role' || key === 'for') e.setAttribute(key, value);
      else e[key] = value;
    }
    e.append(...children.filter((c) => c !== null && c !== ''));
    return e;
  }
  // outside makes an element for a text from the report, isolated from the direction around it.
  const outside = (text, className) => element('bdi', className ? { className } : {}, text);

  // What the rows show and the filters count.
  const packageOf = (i) => (i.package < 0 ? null : data.packages[i.package]);
  const layerOf = (i) => (i.layer < 0 ? null : data.layers[i.layer]);
  const placesOf = (i) => i.places || packageOf(i)?.places || [];
  const addressOf = (i) => i.url || (i.source >= 0 && data.sources[i.source].url ? data.sources[i.source].url + i.title : '');
  const severityName = (i) => (i.severity < 0 ? 'none' : severities[i.severity]);
  const originNames = { base: 'Base image', own: 'Own layers', unknown: 'Unknown' };
  const layerName = (l) => `Layer ${l.number} of ${l.count}`;

  const none = [];
  const layerNumbers = data.layers.map((_, n) => String(n));
  const facets = [
    { name: 'status', title: 'Status', values: statuses, label: (v) => statusLabels[statuses.indexOf(v)], of: (i) => statuses[i.status] },
    { name: 'severity', title: 'Severity', values: ['critical', 'high', 'medium', 'low', 'negligible', 'unknown', 'none'], label: (v) => (v === 'none' ? 'Not a vulnerability' : capital(v)), of: severityName },
    { name: 'where', title: 'Part of the image', values: ['base', 'own', 'unknown'], label: (v) => originNames[v], of: (i) => i.origin || 'unknown' },
    { name: 'layer', title: 'Layer', closed: true, values: layerNumbers.concat('none'), label: (v) => (v === 'none' ? 'No layer' : `${layerName(data.layers[v])}${data.layers[v].base ? ', base' : ''}, ${data.layers[v].platform}`), of: (i) => (i.layer < 0 ? 'none' : layerNumbers[i.layer]) },
    { name: 'platform', title: 'Platform', label: (v) => (v === '' ? 'Whole image' : v), of: (i) => (i.platforms.length === 1 ? data.platforms[i.platforms[0]] : i.platforms.length ? i.platforms.map((n) => data.platforms[n]) : '') },
    { name: 'fix', title: 'Fix', values: ['available', 'none'], label: (v) => (v === 'available' ? 'Available' : 'No fixed version'), of: (i) => (i.severity < 0 ? none : i.fixable ? 'available' : 'none') },
    { name: 'flag', title: 'Attention', values: ['exploited', 'grace', 'inherited'], label: (v) => ({ exploited: 'Known to be exploited', grace: 'In a grace period', inherited: 'Only inherited' }[v]), of: (i) => (i.kev || i.blocks || i.inherited ? [i.kev && 'exploited', i.blocks && 'grace', i.inherited && 'inherited'].filter(Boolean) : none) },
    { name: 'novelty', title: 'Approved image', values: ['new', 'known'], label: (v) => (v === 'new' ? 'New' : 'Has it too'), of: (i) => i.novelty || none },
    { name: 'package', title: 'Package', closed: true, byCount: true, label: (v) => v, of: (i) => (i.package < 0 ? none : packageOf(i).name) },
    { name: 'type', title: 'Package type', closed: true, byCount: true, label: (v) => v, of: (i) => (i.package < 0 ? none : packageOf(i).type) },
    { name: 'rule', title: 'Rule', closed: true, byCount: true, label: (v) => v, of: (i) => (i.rule < 0 ? none : data.rules[i.rule]) },
  ];
  const severityRank = (i) => (i.severity < 0 ? 7 : i.severity === 0 ? 6 : i.severity);
  const padded = (s) => s.toLowerCase().replace(/\d+/g, (d) => d.padStart(9, '0'));
  const orders = [
    { name: 'urgency', label: 'Most urgent', key: (i, n) => n },
    { name: 'severity', label: 'Severity', key: (i) => severityRank(i), down: true },
    { name: 'id', label: 'Problem', key: (i) => padded(i.title) },
    { name: 'package', label: 'Package', key: (i) => (i.package < 0 ? '\uffff' : packageOf(i).name.toLowerCase()) },
    { name: 'fix', label: 'Fix', key: (i) => (i.fixable ? 0 : 1) },
    { name: 'where', label: 'Layer', key: (i) => (i.layer < 0 ? 1e9 : i.layer) },
    { name: 'epss', label: 'EPSS', key: (i) => i.epss || 0, down: true },
    { name: 'status', label: 'Status', key: (i) => i.status },
  ];
  const packageTitle = (p) => `${p.name} ${p.version}`.trim();
  const layerTitle = (n) => `${layerName(data.layers[n])} on ${data.layers[n].platform}${data.layers[n].base ? ', from the base image' : ''}`;
  const groupings = [
    { name: 'none', label: 'No groups' },
    { name: 'severity', label: 'By severity', of: (i) => [i.severity < 0 ? 'Not a vulnerability' : capital(severities[i.severity])] },
    { name: 'package', label: 'By package', of: (i) => [i.package < 0 ? 'Without a package' : packageTitle(packageOf(i))] },
    { name: 'layer', label: 'By layer', of: (i) => [i.layer < 0 ? 'Without a layer' : layerTitle(i.layer)] },
    { name: 'platform', label: 'By platform', of: (i) => (i.platforms.length ? i.platforms.map((n) => data.platforms[n]) : ['Whole image']) },
  ];
  const state = { query: '', order: 'urgency', down: false, group: 'none', chosen: new Map(facets.map((f) => [f.name, new Set()])), finding: '' };

  // Numbers for the values of each facet, once, so that filtering compares numbers.
  for (const f of facets) {
    f.numbers = new Map((f.values || []).map((v, n) => [v, n]));
    f.list = [...(f.values || [])];
    f.total = [];
    const sets = []; // one list for each number, shared by the rows with just that value
    const numberOf = (v) => {
      let n = f.numbers.get(v);
      if (n === undefined) {
        n = f.list.push(v) - 1;
        f.numbers.set(v, n);
      }
      f.total[n] = (f.total[n] || 0) + 1;
      return n;
    };
    f.numbersOf = items.map((i) => {
      const value = f.of(i);
      if (Array.isArray(value)) return value.map(numberOf);
      const n = numberOf(value);
      return sets[n] || (sets[n] = [n]);
    });
  }

  // The texts that the search looks in, made on the first search.
  let haystack = null;
  function textOf(i) {
    const p = packageOf(i);
    return [i.title, i.kind, i.severity < 0 ? '' : severities[i.severity], ...(i.aliases || []), p && `${p.name} ${p.version} ${p.type} ${p.purl}`, i.fix, ...placesOf(i),
      i.rule < 0 ? '' : data.rules[i.rule], i.because].filter(Boolean).join('\n').toLowerCase();
  }
  function search(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return null;
    haystack = haystack || items.map(textOf);
    return haystack.map((text) => words.every((w) => text.includes(w)));
  }

  // filter returns the rows that satisfy the search and every facet, and for each facet how many
  // rows each value would show.
  function filter() {
    const hits = search(state.query);
    const wanted = facets.map((f) => new Set([...state.chosen.get(f.name)].map((v) => f.numbers.get(v))));
    const active = facets.map((f, n) => n).filter((n) => wanted[n].size > 0);
    const counts = facets.map((f) => new Uint32Array(f.list.length));
    const rows = [];
    for (let i = 0; i < items.length; i++) {
      if (hits && !hits[i]) continue;
      let misses = 0;
      let missed = -1;
      for (const n of active) {
        if (!facets[n].numbersOf[i].some((v) => wanted[n].has(v))) {
          missed = n;
          if (++misses > 1) break;
        }
      }
      if (misses > 1) continue;
      if (misses === 0) rows.push(i);
      for (let n = 0; n < facets.length; n++) {
        if (misses === 0 || n === missed) for (const v of facets[n].numbersOf[i]) counts[n][v]++;
      }
    }
    return { rows, counts };
  }
  function order(rows) {
    const by = orders.find((o) => o.name === state.order);
    by.keys = by.keys || items.map(by.key);
    const keys = by.keys;
    const sign = state.down ? -1 : 1;
    if (by.name !== 'urgency' || state.down) {
      rows.sort((a, b) => (keys[a] < keys[b] ? -sign : keys[a] > keys[b] ? sign : a - b));
    }
    return rows;
  }

  // The windowed list: only rows in view are in the document. Rows keep their order there.
  const columns = [['severity', 'Severity'], ['id', 'Problem'], ['package', 'Package'], ['fix', 'Fix'], ['where', 'Where'], ['epss', 'EPSS'], ['status', 'Status']];
  let shown = []; // indexes of items, and objects for the titles of groups
  let inOrder = []; // the items of shown, each once
  let active = 0; // the row that the Tab key reaches

  let rowHeight = 56;
  const canvas = element('div', { className: 'canvas', role: 'rowgroup' });
  const viewport = element('div', { className: 'viewport' }, canvas);
  const headers = columns.map(([name, label]) => {
    const button = element('button', { type: 'button' }, label);
    button.addEventListener('click', () => sortBy(name));
    return element('div', { role: 'columnheader', className: `column-${name}` }, button);
  });
  const head = element('div', { className: 'head', role: 'rowgroup' }, element('div', { role: 'row', 'aria-rowindex': 1 }, ...headers));
  const grid = element('div', { className: 'grid', role: 'table', 'aria-label': 'Findings' }, head, viewport);
  const empty = element('p', { className: 'empty', hidden: true }, 'Nothing matches the search and the filters.');

  function severityMark(i) {
    return i.severity < 0 ? element('span', { className: 'severity kind' }, outside(i.kind)) : element('span', { className: `severity ${severities[i.severity]}` }, capital(severities[i.severity]));
  }
  const statusMark = (i) => element('span', { className: `status ${statuses[i.status]}` }, statusLabels[i.status]);
  const percent = (x) => (x >= 0.0995 ? `${Math.round(x * 100)}%` : `${(x * 100).toFixed(1)}%`);
  const platformText = (i) => (i.platforms.length > 1 ? `${i.platforms.length} platforms` : i.platforms.length ? data.platforms[i.platforms[0]] : 'whole image');

  // arrange puts the rows into groups, in the order of their first rows.
  function arrange(rows) {
    const by = groupings.find((g) => g.name === state.group);
    if (!by.of) return rows;
    const groups = new Map();
    for (const n of rows) {
      for (const title of by.of(items[n])) {
        if (!groups.has(title)) groups.set(title, []);
        groups.get(title).push(n);
      }
    }
    return [...groups].flatMap(([title, members]) => [{ title, members }, ...members]);
  }
  const isItem = (entry) => typeof entry === 'number';

  function makeTitle(at) {
    const { title, members } = shown[at];
    const parts = statusLabels.map((label, s) => [members.filter((n) => items[n].status === s).length, label.toLowerCase()]).filter(([n]) => n > 0);
    const row = element('div', { className: 'title', role: 'row', 'aria-rowindex': at + 2 },
      element('div', { role: 'cell', 'aria-colspan': columns.length }, outside(title), element('span', { className: 'note' }, parts.map(([n, label]) => `${number(n)} ${label}`).join(', '))));
    return place(row, at);
  }
  function place(row, at) {
    row.style.transform = `translateY(${at * rowHeight}px)`;
    row.at = at;
    return row;
  }
  function makeRow(at) {
    if (!isItem(shown[at])) return makeTitle(at);
    const i = items[shown[at]];
    const p = packageOf(i);
    const l = layerOf(i);
    const cell = (className, ...children) => element('div', { className, role: 'cell' }, ...children);
    const button = element('button', { type: 'button', tabIndex: at === active ? 0 : -1 }, outside(i.title, i.severity < 0 ? 'clamp' : 'line'));
    const second = element('span', { className: 'line second' });
    if (i.kev) second.append(element('span', { className: 'flag', title: i.kev }, 'KEV'), ' ');
    if (i.novelty === 'new') second.append(element('span', { className: 'flag calm' }, 'new'), ' ');
    if (i.blocks) second.append(`blocks ${i.blocks} `);
    else if (i.aliases) second.append(outside(i.aliases[0]));
    const problem = cell('problem', button, second.childNodes.length ? second : null);
    const middle = [problem];
    if (i.severity < 0) {
      problem.classList.add('wide');
      problem.setAttribute('aria-colspan', 3);
    } else {
      middle.push(cell('package', p ? outside(p.name, 'line') : '', p ? outside(p.version, 'line second mono') : ''), cell('fix', outside(i.fix, i.fixable ? 'line mono' : 'line second')));
    }
    const row = element('div', { role: 'row', 'aria-rowindex': at + 2 },
      cell('severity-cell', severityMark(i)), ...middle,
      cell('where', element('span', { className: 'line' }, i.origin ? originNames[i.origin] : l ? `Layer ${l.number}` : ''), element('span', { className: 'line second' }, platformText(i))),
      cell('epss', i.epss ? percent(i.epss) : ''),
      cell('state', statusMark(i)));
    return place(row, at);
  }

  // draw keeps rows that stay in view, so that the focus stays where it is.
  function draw() {
    const over = 6;
    const first = Math.max(0, Math.floor(viewport.scrollTop / rowHeight) - over);
    const last = Math.min(shown.length, Math.ceil((viewport.scrollTop + viewport.clientHeight) / rowHeight) + over);
    const focused = canvas.contains(document.activeElement);
    if (!focused && (active < first || active >= last)) active = Math.min(first + over, shown.length - 1);
    if (!isItem(shown[active])) active = Math.min(active + 1, shown.length - 1);
    const wanted = [];
    for (let at = first; at < last; at++) wanted.push(at);
    if (focused && active < first) wanted.unshift(active);
    if (focused && active >= last) wanted.push(active);
    const keep = new Set(wanted);
    for (const row of [...canvas.children]) {
      if (!keep.has(row.at)) row.remove();
    }
    let next = canvas.firstElementChild;
    for (const at of wanted) {
      if (next && next.at === at) {
        const button = next.querySelector('button');
        if (button) button.tabIndex = at === active ? 0 : -1;
        next = next.nextElementSibling;
      } else {
        canvas.insertBefore(makeRow(at), next);
      }
    }
  }
  function measure() {
    rowHeight = parseFloat(getComputedStyle(grid).getPropertyValue('--row')) || 56;
    canvas.style.height = `${shown.length * rowHeight}px`;
    viewport.style.height = `${Math.min(shown.length, 400) * rowHeight}px`;
    head.style.paddingRight = `${viewport.offsetWidth - viewport.clientWidth}px`;
  }
  function move(to) {
    if (shown.length === 0) return;
    const back = to < active;
    active = Math.max(0, Math.min(shown.length - 1, to));
    if (!isItem(shown[active])) active = back && active > 0 ? active - 1 : active + 1;
    const top = active * rowHeight;
    if (top < viewport.scrollTop) viewport.scrollTop = top;
    else if (top + rowHeight > viewport.scrollTop + viewport.clientHeight) viewport.scrollTop = top + rowHeight - viewport.clientHeight;
    draw();
    for (const row of canvas.children) {
      if (row.at === active) row.querySelector('button').focus({ preventScroll: true });
    }
  }
  canvas.addEventListener('keydown', (e) => {
    const page = Math.max(1, Math.floor(viewport.clientHeight / rowHeight) - 1);
    const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: shown.length - 1 }[e.key];
    if (to === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    move(to);
  });
  canvas.addEventListener('focusin', (e) => {
    active = e.target.closest('[role="row"]').at;
    draw();
  });
  canvas.addEventListener('click', (e) => {
    const row = e.target.closest('[role="row"]');
    if (row && isItem(shown[row.at])) open(items[shown[row.at]].key);
  });
  viewport.addEventListener('scroll', draw, { passive: true });
  addEventListener('resize', () => { clearRows(); measure(); draw(); });
  function clearRows() { canvas.replaceChildren(); }

  const without = items.filter((i) => i.status === statuses.length - 1).length;
  const total = `${number(items.length - without)} ${items.length - without === 1 ? 'problem' : 'problems'}${without ? ` and ${number(without)} ${without === 1 ? 'finding' : 'findings'} that no rule matches` : ''}`;
  // update shows the rows for the state.
  function update() {
    const { rows, counts } = filter();
    shown = arrange(order(rows));
    inOrder = [...new Set(shown.filter(isItem))];
    active = 0;
    clearRows();
    viewport.scrollTop = 0;
    grid.setAttribute('aria-rowcount', shown.length + 1);
    grid.hidden = shown.length === 0;
    empty.hidden = shown.length > 0;
    measure();
    draw();
    updateFacets(counts);
    byId('count').textContent = inOrder.length === items.length ? total : `${number(inOrder.length)} of ${number(items.length)}`;
    byId('sort').value = state.order;
    byId('group').value = state.group;
    columns.forEach(([name], n) => {
      if (name === state.order) headers[n].setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
      else headers[n].removeAttribute('aria-sort');
    });
    const filtered = state.query !== '' || [...state.chosen.values()].some((s) => s.size > 0);
    byId('clear').disabled = !filtered;
  }
  function sortBy(name) {
    const by = orders.find((o) => o.name === name);
    state.down = state.order === name ? !state.down : Boolean(by.down);
    state.order = name;
    changed();
  }
  function changed() {
    update();
    writeFragment();
  }

  // The filters.
  const few = 8;
  function makeFacets() {
    for (const f of facets) {
      const values = f.list.filter((v, n) => f.total[n] > 0);
      if (values.length === 0 || (values.length === 1 && f.name !== 'status' && f.name !== 'severity' && f.name !== 'flag' && f.name !== 'novelty')) continue;
      if (f.byCount) values.sort((a, b) => f.total[f.numbers.get(b)] - f.total[f.numbers.get(a)]);
      f.box = element('details', { className: 'facet', open: !f.closed }, element('summary', {}, f.title));
      const group = element('div', { role: 'group', 'aria-label': f.title });
      f.boxes = new Map();
      const add = (v) => {
        const input = element('input', { type: 'checkbox' });
        const count = element('span', { className: 'n' });
        input.addEventListener('change', () => {
          state.chosen.get(f.name)[input.checked ? 'add' : 'delete'](v);
          changed();
        });
        const label = element('label', {}, input, element('span', {}, outside(f.label(v))), count);
        f.boxes.set(v, { input, count, label });
        return label;
      };
      group.append(...values.slice(0, few).map(add));
      if (values.length > few) {
        const most = 100;
        const more = element('button', { type: 'button' }, values.length > most ? `Show ${most} of ${number(values.length)}` : `Show all ${values.length}`);
        more.addEventListener('click', () => {
          more.replaceWith(...values.slice(few, most).filter((v) => !f.boxes.has(v)).map(add));
          update();
          f.boxes.get(values[few]).input.focus();
        });
        group.append(more);
      }
      f.add = (v) => { if (f.total[f.numbers.get(v)] > 0 && !f.boxes.has(v)) group.prepend(add(v)); };
      f.box.append(group);
      byId('facets').append(f.box);
    }
  }
  function updateFacets(counts) {
    let chosen = 0;
    facets.forEach((f, n) => {
      chosen += state.chosen.get(f.name).size;
      if (!f.boxes) return;
      for (const v of state.chosen.get(f.name)) f.add(v);
      for (const [v, { input, count, label }] of f.boxes) {
        const c = counts[n][f.numbers.get(v)];
        input.checked = state.chosen.get(f.name).has(v);
        count.textContent = number(c);
        label.classList.toggle('none', c === 0);
      }
      if (state.chosen.get(f.name).size > 0) f.box.open = true;
    });
    byId('facets-toggle').textContent = chosen ? `Filters (${chosen})` : 'Filters';
  }

  // The state in the address, so that a link shows the same rows.
  function fragment() {
    const out = new URLSearchParams();
    if (state.query) out.set('q', state.query);
    for (const f of facets) {
      for (const v of state.chosen.get(f.name)) out.append(f.name, v);
    }
    if (state.order !== 'urgency' || state.down) out.set('sort', (state.down ? '-' : '') + state.order);
    if (state.group !== 'none') out.set('group', state.group);
    if (state.finding) out.set('finding', state.finding);
    return out.toString();
  }
  function writeFragment() {
    try {
      history.replaceState(null, '', `#${fragment()}`);
    } catch {
      // In a frame without the right to change the address, links to rows are not available.
    }
  }
  // readFragment returns false for the address of a section.
  function readFragment() {
    const text = location.hash.slice(1);
    if (!text.includes('=')) return false;
    const from = new URLSearchParams(text);
    const finding = from.get('finding') || '';
    if (!(finding && [...from.keys()].length === 1)) {
      state.query = from.get('q') || '';
      for (const f of facets) {
        state.chosen.set(f.name, new Set(from.getAll(f.name).filter((v) => f.numbers.has(v))));
      }
      const sort = from.get('sort') || '';
      const known = orders.some((o) => o.name === sort.replace(/^-/, ''));
      state.order = known ? sort.replace(/^-/, '') : 'urgency';
      state.down = known && sort.startsWith('-');
      const group = from.get('group');
      state.group = groupings.some((g) => g.name === group) ? group : 'none';
    }
    byId('query').value = state.query;
    update();
    if (finding) openAny(finding);
    else {
      close();
      byId('findings').scrollIntoView({ behavior: 'instant' });
    }
    return true;
  }

  // The details of one finding.
  const dialog = element('dialog', { 'aria-labelledby': 'detail' });
  document.body.append(dialog);
  // openAny opens a row by its key, or by the id or alias of a vulnerability.
  function openAny(text) {
    const lower = text.toLowerCase();
    const found = items.find((i) => i.key === lower) || items.find((i) => i.title.toLowerCase() === lower || (i.aliases || []).some((a) => a.toLowerCase() === lower));
    if (found) open(found.key);
    else announce(`This report has no finding ${text}.`);
  }
  function open(key) {
    state.finding = key;
    const n = items.findIndex((i) => i.key === key);
    fill(items[n], inOrder.indexOf(n));
    if (!dialog.open) dialog.showModal();
    byId('detail').focus();
    writeFragment();
  }
  function close() { if (dialog.open) dialog.close(); }
  dialog.addEventListener('close', () => {
    const at = shown.indexOf(items.findIndex((i) => i.key === state.finding));
    state.finding = '';
    writeFragment();
    if (at >= 0) move(at);
  });
  dialog.addEventListener('click', (e) => { if (e.target === dialog) close(); });
  dialog.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const by = { ArrowLeft: -1, k: -1, ArrowRight: 1, j: 1 }[e.key];
    if (by) step(by);
  });
  function step(by) {
    const from = inOrder.indexOf(items.findIndex((i) => i.key === state.finding));
    if (from >= 0 && inOrder[from + by] !== undefined) open(items[inOrder[from + by]].key);
  }

  function pasteBox(text) {
    const icon = document.querySelector('.copy')?.cloneNode(true) || element('button', { type: 'button', className: 'copy' }, 'Copy');
    return element('div', { className: 'paste' }, element('code', {}, text), icon);
  }
  function fill(i, at) {
    const p = packageOf(i);
    const facts = element('dl');
    const fact = (title, ...values) => { if (values.some(Boolean)) facts.append(element('dt', {}, title), element('dd', {}, ...values.filter(Boolean))); };
    const lines = (all) => (all || []).flatMap((v, n) => (n ? [element('br'), outside(v)] : [outside(v)]));
    fact('Package', p && outside(p.name), p && p.type && element('small', {}, ' ', outside(p.type)));
    fact('Version', p && p.version && outside(p.version, 'mono'));
    fact('Fix', i.fix && outside(i.fix, i.fixable ? 'mono' : ''));
    fact('Rule', i.rule >= 0 && outside(data.rules[i.rule]));
    fact('Decision', i.inherited && 'Only warns, because the approved image has it too. ', i.blocks && `Only warns until ${i.blocks}: the grace period ends then.`, i.because && outside(i.because));
    fact('Past exceptions', ...lines(i.expired));
    const l = layerOf(i);
    fact('Layer', i.origin && `${originNames[i.origin]}. `, l && `${layerName(l)} on ${l.platform} `, l && element('small', {}, outside(l.digest, 'mono')));
    fact('Platforms', i.platforms.map((n) => data.platforms[n]).join(', ') || 'whole image');
    fact('Places', ...lines(placesOf(i)));
    fact('Exploited', i.kev);
    fact('EPSS', i.epss && `${percent(i.epss)} probability of exploitation in 30 days`);
    fact('CVSS', i.cvss && i.cvss.toFixed(1));
    fact('Approved image', i.novelty === 'new' && 'Does not have it: new', i.novelty === 'known' && 'Has it too');
    fact('Other ids', ...lines(i.aliases));
    fact('Published', i.published);
    fact('Source', i.source >= 0 && data.sources[i.source].name && outside(data.sources[i.source].name));
    fact('purl', p && p.purl && outside(p.purl, 'mono'));
    const body = element('div', { className: 'body', tabIndex: 0 });
    if (i.text >= 0) body.append(element('p', {}, outside(data.texts[i.text])));
    if (i.remedy >= 0) {
      const { do: text, paste } = data.remedies[i.remedy];
      body.append(element('h3', {}, 'What to do'), paste ? pasteBox(text) : element('p', {}, outside(text)));
    }
    body.append(facts);
    if (/^https?:\/\//.test(addressOf(i))) body.append(element('p', {}, element('a', { href: addressOf(i), rel: 'noopener noreferrer', target: '_blank' }, 'Advisory')));
    const button = (label, action, disabled) => {
      const b = element('button', { type: 'button', disabled: Boolean(disabled) }, label);
      b.addEventListener('click', action);
      return b;
    };
    const closing = button('Close', close);
    dialog.replaceChildren(
      element('header', {}, element('div', {}, severityMark(i), ' ', statusMark(i), element('h2', { id: 'detail', tabIndex: -1 }, outside(i.title))), closing),
      body,
      element('footer', {}, button('Previous', () => step(-1), at <= 0), element('span', { className: 'position note' }, at >= 0 ? `${number(at + 1)} of ${number(inOrder.length)}` : ''), button('Copy link', () => copy(location.href)), button('Next', () => step(1), at < 0 || at >= inOrder.length - 1)));
  }

  // Copying, the theme and printing.
  function announce(text) {
    byId('announce').textContent = '';
    setTimeout(() => { byId('announce').textContent = text; }, 50);
  }
  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element('textarea', { value: text });
      (dialog.open ? dialog : document.body).append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    announce('Copied');
    if (button) {
      button.classList.add('done');
      const label = button.title;
      button.title = 'Copied';
      setTimeout(() => { button.classList.remove('done'); button.title = label; }, 1500);
    }
  }
  document.addEventListener('click', (e) => {
    const button = e.target.closest('.copy, .copy-all');
    if (button) copy(button.dataset.copy || button.previousElementSibling.textContent, button);
  });

  const root = document.documentElement;
  const prefersDark = matchMedia('(prefers-color-scheme: dark)');
  function showTheme() {
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : prefersDark.matches;
    byId('theme').setAttribute('aria-pressed', dark);
  }
  const themeKey = 'imagegate-theme';
  try {
    const theme = localStorage.getItem(themeKey);
    if (theme === 'dark' || theme === 'light') root.dataset.theme = theme;
  } catch {
    // Storage is not available in every frame.
  }
  byId('theme').addEventListener('click', () => {
    root.dataset.theme = byId('theme').getAttribute('aria-pressed') === 'true' ? 'light' : 'dark';
    try {
      localStorage.setItem(themeKey, root.dataset.theme);
    } catch {
      // The choice then lasts until the page is closed.
    }
    showTheme();
  });
  prefersDark.addEventListener('change', showTheme);

  // A printed page has the rows of the current filters, up to a limit.
  function fillPrinted() {
    const most = 2000;
    const body = element('tbody');
    for (const n of inOrder.slice(0, most)) {
      const i = items[n];
      const p = packageOf(i);
      body.append(element('tr', {}, element('td', {}, statusMark(i)), element('td', {}, severityMark(i)), element('td', {}, outside(i.title)),
        element('td', {}, p ? outside(`${p.name} ${p.version}`) : ''), element('td', {}, i.fix ? outside(i.fix) : '')));
    }
    const titles = ['Status', 'Severity', 'Problem', 'Package', 'Fix'].map((t) => element('th', { scope: 'col' }, t));
    const note = inOrder.length > most ? `The first ${number(most)} of ${number(inOrder.length)}.` : inOrder.length < items.length ? `${number(inOrder.length)} of ${number(items.length)}: the filters are active.` : total;
    byId('printed').replaceChildren(element('p', { className: 'note' }, note), element('table', {}, element('thead', {}, element('tr', {}, ...titles)), body));
  }
  byId('print').addEventListener('click', () => print());
  addEventListener('beforeprint', fillPrinted);
  addEventListener('afterprint', () => byId('printed').replaceChildren());

  // The section in view is marked in the navigation.
  const sections = new Map([...document.querySelectorAll('nav a')].map((a) => [document.querySelector(a.getAttribute('href')).closest('section'), a]));
  const inView = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const e of entries) inView[e.isIntersecting ? 'add' : 'delete'](e.target);
    const first = [...sections.keys()].find((s) => inView.has(s));
    for (const [s, a] of sections) {
      if (s === first) a.setAttribute('aria-current', 'true');
      else a.removeAttribute('aria-current');
    }
  }, { rootMargin: '-80px 0px -60% 0px' });
  for (const s of sections.keys()) observer.observe(s);

  // Start.
  root.classList.add('js');
  byId('list').append(grid, empty);
  byId('sort').append(...orders.map((o) => element('option', { value: o.name }, o.label)));
  byId('sort').addEventListener('change', (e) => {
    const by = orders.find((o) => o.name === e.target.value);
    state.order = by.name;
    state.down = Boolean(by.down);
    changed();
  });
  byId('group').append(...groupings.map((g) => element('option', { value: g.name }, g.label)));
  byId('group').addEventListener('change', (e) => {
    state.group = e.target.value;
    changed();
  });
  byId('query').addEventListener('input', (e) => {
    state.query = e.target.value.trim();
    changed();
  });
  byId('query').addEventListener('keydown', (e) => {
    if (e.key !== 'ArrowDown') return;
    e.preventDefault();
    move(0);
  });
  byId('clear').addEventListener('click', () => {
    state.query = byId('query').value = '';
    state.chosen.forEach((s) => s.clear());
    changed();
    byId('query').focus();
  });
  byId('share').addEventListener('click', () => copy(location.href));
  byId('facets-toggle').addEventListener('click', (e) => {
    const open = byId('facets').classList.toggle('open');
    e.currentTarget.setAttribute('aria-expanded', open);
  });
  document.addEventListener('keydown', (e) => {
    if (e.key !== '/' || dialog.open || /^(input|select|textarea)$/i.test(e.target.tagName)) return;
    e.preventDefault();
    byId('query').focus();
    byId('findings').scrollIntoView();
  });
  addEventListener('hashchange', readFragment);
  showTheme();
  makeFacets();
  if (!readFragment()) update();
})();
