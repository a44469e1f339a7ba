// Parked messages: by cause with advice, one by one, the whole entry; replay, export and discard.

import { get, path } from './api.js';
import { ask, brief, button, field, foreign, h, table, values, visible } from './dom.js';
import { Pages, attempt, change, explain, mayControl, notice, page, visit } from './page.js';
import { followReplay, isRecent, progress, replayMany } from './runs.js';
import { age, knows, number, t } from './say.js';
import { listed } from './tasks.js';

/// The most that a part of a list may hold; an export has many parts.
const LARGEST_PART = 200;

// ---- The list and its causes

export function parkedScreen(query) {
  const list = new Pages((cursor) => get(path('/api/v1/parked', { ...query, limit: 50, cursor })));
  let causes = null;
  let exporting = null;
  const replay = () => page.status.replay;
  const load = async () => {
    // One after the other, the list first: two browses at once would take the messages from each other.
    await list.first();
    causes = await get('/api/v1/parked/causes').catch(() => causes ?? { causes: [] });
    page.redraw();
  };
  return {
    title: () => t('parked'),
    load,
    draw: () => [
      isRecent(replay()) && progress(replay()),
      h(
        'section',
        { 'data-key': 'list' },
        h('h2', null, t('parked')),
        causesTable(causes),
        filters(query),
        h(
          'p',
          { class: 'buttons', 'data-key': 'export' },
          mayControl() && list.total > 0 && button(t('replay_shown'), 'replayShown'),
          list.total > 0 &&
            (exporting
              ? [button(t('export_stop'), 'stopExport'), ' ', t('exported', { count: exporting.lines })]
              : button(t('export'), 'export', {}, { title: t('export_note') })),
        ),
        listed(list, () => parkedTable(list.items), t('no_parked')),
      ),
      !mayControl() && h('p', { class: 'hint', 'data-key': 'control' }, t('how_to_control')),
      replay() && !isRecent(replay()) && progress(replay()),
    ],
    actions: {
      ...entryActions(load),
      more: () => list.more(),
      reload: load,
      filter: (_, form) => visit(path('#/parked', values(form))),
      replayCause: ({ cause, system, count }) =>
        replayMany(
          system ? { cause, system } : { cause },
          Number(count),
          t('replay_cause_title', { cause: visible(cause) }),
          load,
        ),
      replayShown: () => replayMany(filterOf(query), list.total, t('replay_shown_title'), load),
      stopExport: () => {
        exporting = null;
        page.redraw();
      },
      async export() {
        exporting = { lines: 0 };
        await attempt(() => exportAll(query, exporting, () => exporting !== null));
        exporting = null;
        page.redraw();
      },
    },
  };
}

/// What a replay is asked for: the filter of the list, or all.
function filterOf({ cause, q, system }) {
  const given = Object.entries({ cause, q, system }).filter(([, value]) => value);
  return given.length > 0 ? { ...Object.fromEntries(given), ...(cause ? {} : { all: true }) } : { all: true };
}

function causesTable(causes) {
  if (causes === null) return h('p', { 'data-key': 'counting', class: 'counting' }, t('loading_causes'));
  if (causes.causes.length === 0) return null;
  const columns = [
    [t('cause'), 'wide'],
    [t('system')],
    [t('count'), 'number'],
    [t('oldest'), 'number'],
    [t('newest'), 'number'],
    [t('example'), 'wide'],
    [t('actions'), 'actions'],
  ];
  return h(
    'div',
    { 'data-key': 'causes' },
    table(
      t('causes_caption'),
      columns,
      largest(causes.causes).map((each) => ({
        key: `${each.cause}/${each.system}`,
        cells: [
          [h('strong', null, brief(cause(each.cause))), h('small', null, advice(each))],
          foreign(each.system ?? '–'),
          number(each.count),
          age(each.oldest_at),
          age(each.newest_at),
          brief(each.example_error ?? '–'),
          h(
            'span',
            { class: 'buttons' },
            each.cause &&
              h('a', { href: path('#/parked', { cause: each.cause, system: each.system }) }, t('show_these')),
            mayControl() &&
              each.cause &&
              button(
                t('replay_all'),
                'replayCause',
                { cause: each.cause, system: each.system, count: each.count },
                { 'aria-label': `${t('replay_all')}: ${each.cause}` },
              ),
          ),
        ],
      })),
    ),
  );
}

function largest(causes) {
  return causes.toSorted((one, other) => other.count - one.count);
}

/// Its name on the wire, which the log and the messages have too, and what it means.
function cause(code) {
  return knows(`cause_${code}`) ? `${code}: ${t(`cause_${code}`)}` : (code ?? t('no_cause'));
}

function advice({ cause, advice }) {
  return knows(`advice_${cause}`) ? t(`advice_${cause}`) : brief(advice ?? '', 400);
}

function filters(query) {
  return h(
    'form',
    { 'data-submit': 'filter', class: 'filters' },
    field(t('cause'), 'cause', { type: 'text', autocomplete: 'off', maxlength: 100 }, query.cause),
    field(t('system'), 'system', { type: 'text', autocomplete: 'off', maxlength: 100 }, query.system),
    field(t('contains'), 'q', { type: 'search', autocomplete: 'off', maxlength: 200 }, query.q),
    h(
      'p',
      { class: 'buttons' },
      h('button', { type: 'submit', class: 'main' }, t('show')),
      h('a', { href: '#/parked' }, t('show_all')),
    ),
  );
}

export function parkedTable(items) {
  const columns = [
    [t('message'), 'wide'],
    [t('cause'), 'wide'],
    [t('system')],
    [t('parked_ago'), 'number'],
    [t('attempts'), 'number'],
    [t('actions'), 'actions'],
  ];
  return table(
    t('parked_caption'),
    columns,
    items.map((item) => ({
      key: item.id,
      cells: [
        [
          h('a', { href: entryPath(item.id) }, brief(item.title ?? item.id)),
          item.title && h('small', null, brief(item.id)),
        ],
        [brief(item.cause ?? t('no_cause')), item.error && h('small', null, brief(item.error))],
        foreign(item.system ?? '–'),
        age(item.parked_at),
        number(item.attempts),
        mayControl() ? entryButtons(item) : h('a', { href: entryPath(item.id) }, t('look')),
      ],
    })),
  );
}

function entryPath(id) {
  return `#/parked/${encodeURIComponent(id)}`;
}

function entryButtons({ id, title, etag, replayable }) {
  const label = (text) => ({ 'aria-label': `${text}: ${visible(title ?? id)}` });
  return h(
    'span',
    { class: 'buttons' },
    replayable !== false && button(t('replay_one'), 'replayOne', { id, etag }, label(t('replay_one'))),
    button(t('discard'), 'discard', { id, etag, title: title ?? id }, label(t('discard'))),
  );
}

/// What the buttons of an entry do; `after` reads again what is shown.
function entryActions(after) {
  const at = (id) => `/api/v1/parked/${encodeURIComponent(id)}`;
  return {
    async replayOne({ id, etag }) {
      const done = await change('POST', `${at(id)}/replay`, { tag: etag }, t('replayed_one'));
      if (!done) return;
      if (done.replay) followReplay(done.replay);
      await after();
    },
    async discard({ id, etag, title }) {
      const sure = await ask({
        title: t('discard_title'),
        text: [brief(title), t('discard_text')],
        confirm: t('discard_do'),
        cancel: t('cancel'),
        danger: true,
      });
      if (sure && (await change('DELETE', at(id), { tag: etag }, t('discarded')))) await after();
    },
  };
}

// ---- One entry

export function entryScreen(id) {
  let entry = null;
  let failed = null;
  const load = async () => {
    try {
      entry = await get(`/api/v1/parked/${encodeURIComponent(id)}`);
      failed = null;
    } catch (error) {
      entry = null;
      failed = error;
    }
    page.redraw();
  };
  return {
    title: () => visible(entry?.title ?? id),
    load,
    draw: () => [
      h('h2', { 'data-key': 'title' }, brief(entry?.title ?? t('parked_message'), 400)),
      failed && h('p', { class: 'error', 'data-key': 'failed' }, explain(failed)),
      failed?.status === 404 &&
        h(
          'p',
          { 'data-key': 'task' },
          t('not_parked'),
          ' ',
          h('a', { href: `#/tasks/${encodeURIComponent(id)}` }, t('trace_it')),
        ),
      entry ? whole(entry) : !failed && h('p', { 'data-key': 'loading' }, t('loading')),
    ],
    actions: entryActions(load),
  };
}

function whole(entry) {
  const facts = [
    ['task_id', h('a', { href: `#/tasks/${encodeURIComponent(entry.id)}` }, foreign(entry.id))],
    ['process_id', entry.process_id && foreign(entry.process_id)],
    ['cause', foreign(cause(entry.cause))],
    ['error', entry.error && foreign(entry.error)],
    ['advice', advice(entry)],
    ['system', entry.system && foreign(entry.system)],
    ['source_queue', entry.source_queue && foreign(entry.source_queue)],
    ['parked_ago', age(entry.parked_at)],
    ['attempts', number(entry.attempts)],
    ['cannot_replay', entry.why_not && foreign(entry.why_not)],
  ].filter(([, value]) => value);
  const body = entry.message != null ? JSON.stringify(entry.message, null, 2) : entry.body_base64;
  return h(
    'div',
    { 'data-key': 'entry' },
    h(
      'dl',
      { class: 'facts' },
      facts.map(([key, value]) => h('div', null, h('dt', null, t(key)), h('dd', null, value))),
    ),
    h('p', null, mayControl() ? entryButtons(entry) : t('how_to_control')),
    h('h3', null, t(entry.message != null ? 'whole_message' : 'whole_bytes')),
    body && h('pre', { tabindex: 0, 'aria-label': t('whole_message') }, foreign(body)),
  );
}

// ---- The export

/// All parts of the list as lines of JSON, for the person to save.
async function exportAll(query, progress, goesOn) {
  const lines = [];
  let cursor = null;
  do {
    const part = await get(path('/api/v1/parked', { ...query, limit: LARGEST_PART, cursor }));
    lines.push(...part.items.map((item) => JSON.stringify(item)));
    cursor = part.next_cursor;
    progress.lines = lines.length;
    page.redraw();
  } while (cursor !== null && goesOn());
  if (!goesOn()) return;
  save(
    new Blob([`${lines.join('\n')}\n`], { type: 'application/x-ndjson' }),
    `parked-${new Date().toISOString().slice(0, 10)}.jsonl`,
  );
  notice(t('export_done', { count: lines.length }), 'done');
}

function save(blob, file) {
  const link = h('a', { href: URL.createObjectURL(blob), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
