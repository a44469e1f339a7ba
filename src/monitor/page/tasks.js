// Tasks that the worker has under way: a list by state and age, the search over everything, and the page of one task.

import { get, path } from './api.js';
import { brief, button, field, foreign, h, outside, table, values, visible } from './dom.js';
import { Pages, change, explain, mayControl, page, systems, visit } from './page.js';
import { parkedTable } from './parked.js';
import { age, clock, duration, full, knows, name, number, speaks, t, told } from './say.js';

const STATES = ['in_hand', 'retrying', 'open', 'unanswered'];

// ---- The list

export function tasksScreen(query) {
  const list = new Pages((cursor) => get(path('/api/v1/tasks', { ...query, limit: 50, cursor })));
  return {
    title: () => t('tasks'),
    load: () => list.first(),
    draw: () => [
      h(
        'section',
        { 'data-key': 'tasks' },
        h('h2', null, t('tasks')),
        filters(query),
        listed(list, () => tasksTable(t('tasks_caption'), list.items), t('no_tasks')),
        !list.complete && h('p', { class: 'hint' }, t('incomplete')),
      ),
    ],
    actions: {
      more: () => list.more(),
      reload: () => list.first(),
      filter: (_, form) => visit(path('#/tasks', values(form))),
    },
  };
}

function filters(query) {
  const any = ['', t('any')];
  return h(
    'form',
    { 'data-submit': 'filter', class: 'filters' },
    field(t('state'), 'state', [any, ...STATES.map((state) => [state, name('task', state)])], query.state),
    field(t('system'), 'system', [any, ...systems().map((system) => [system, system])], query.system),
    field(
      t('older_than'),
      'older_than',
      [any, ...[3600, 86400, 604800].map((age) => [age, duration(age)])],
      query.older_than,
    ),
    field(t('contains'), 'q', { type: 'search', autocomplete: 'off', maxlength: 200 }, query.q),
    h('p', { class: 'buttons' }, h('button', { type: 'submit', class: 'main' }, t('show'))),
  );
}

/// A list with what is to be said of it: when it was read, how much there is, the next part.
export function listed(list, draw, empty) {
  if (list.failed) {
    return h('div', { class: 'error' }, h('p', null, explain(list.failed)), button(t('again'), 'reload'));
  }
  if (list.readAt === null) return h('p', null, t('loading'));
  return h(
    'div',
    { 'aria-busy': String(list.loading) },
    h(
      'p',
      { class: 'quiet' },
      t('shown', { shown: list.items.length, total: list.total ?? list.items.length }),
      ' · ',
      t('read_at'),
      ' ',
      clock(list.readAt),
      ' ',
      button(t('reload'), 'reload'),
    ),
    list.items.length === 0 ? h('p', { class: 'calm' }, empty) : draw(),
    list.hasMore &&
      h('p', null, button(list.loading ? t('loading') : t('more'), 'more', {}, { 'aria-disabled': list.loading })),
  );
}

export function tasksTable(caption, items) {
  const columns = [
    [t('task'), 'wide'],
    [t('system')],
    [t('state')],
    [t('age'), 'number'],
    [t('attempts'), 'number'],
    [t('at_target')],
    [t('error'), 'wide'],
  ];
  return table(
    caption,
    columns,
    items.map((item) => ({
      key: `${item.system}/${item.task_id}`,
      cells: [
        [link(item.task_id, item.title ?? item.task_id), item.title && h('small', null, brief(item.task_id))],
        foreign(item.system),
        [
          name('task', item.state),
          item.step && h('small', null, brief(item.step)),
          item.next_try_in_seconds != null &&
            h('small', null, t('next_try', { duration: duration(item.next_try_in_seconds) })),
        ],
        item.since
          ? h('time', { datetime: item.since, title: full(item.since) }, duration(item.age_seconds))
          : duration(item.age_seconds),
        number(item.attempts),
        item.target_id == null ? '–' : outside(item.link, item.target_id),
        item.error ? brief(item.error) : '–',
      ],
    })),
  );
}

function link(id, text) {
  return h('a', { href: `#/tasks/${encodeURIComponent(id)}` }, brief(text));
}

// ---- The search

/// Tasks come from memory, parked messages from a browse of the error queue: one after the other, the quick one first.
export function searchScreen({ q }) {
  const tasks = new Pages((cursor) => get(path('/api/v1/tasks', { q, limit: 50, cursor })));
  const parked = new Pages((cursor) => get(path('/api/v1/parked', { q, limit: 50, cursor })));
  const part = (key, title, list, draw, empty) =>
    h('section', { 'data-key': key }, h('h2', null, title), listed(list, draw, empty));
  return {
    title: () => t('search_for', { q: visible(q) }),
    load: () => tasks.first().then(() => parked.first()),
    draw: () => [
      h('h2', { 'data-key': 'title' }, t('search_for', { q: visible(q) })),
      h('p', { class: 'hint', 'data-key': 'hint' }, t('search_hint'), ' ', link(q, t('search_as_id'))),
      part('tasks', t('tasks'), tasks, () => tasksTable(t('tasks_caption'), tasks.items), t('search_none')),
      part('parked', t('parked'), parked, () => parkedTable(parked.items), t('search_none')),
    ],
    actions: {
      more: (_, element) => (element.closest('[data-key=parked]') ? parked : tasks).more(),
      reload: (_, element) => (element.closest('[data-key=parked]') ? parked : tasks).first(),
    },
  };
}

// ---- One task

export function taskScreen(id) {
  let trace = null;
  let failed = null;
  let looking = false;
  const base = `/api/v1/tasks/${encodeURIComponent(id)}`;
  const look = async (browse) => {
    looking = true;
    page.redraw();
    try {
      trace = await get(path(base, { browse: browse ? 'true' : null }));
      failed = null;
    } catch (error) {
      failed = error;
      if (error.status === 401) page.refused = error;
    }
    looking = false;
    page.redraw();
  };
  return {
    title: () => visible(trace?.title ?? id),
    load: () => look(false),
    draw: () => [
      h('h2', { 'data-key': 'title' }, brief(trace?.title ?? t('task'), 400)),
      h(
        'p',
        { 'data-key': 'ids', class: 'ids' },
        t('task_id'),
        ' ',
        h('code', null, foreign(id)),
        ' ',
        button(t('copy_link'), 'copy', { text: location.href }),
        trace?.process_id && [h('br'), t('process_id'), ' ', h('code', null, foreign(trace.process_id))],
      ),
      failed && h('p', { class: 'error', 'data-key': 'failed' }, explain(failed)),
      looking && h('p', { 'data-key': 'looking' }, t('looking')),
      trace && [
        h('div', { 'data-key': 'outcome' }, outcome(trace.verdict)),
        timeline(trace),
        verdict(trace),
        suggestion(trace, id),
      ],
      h(
        'p',
        { class: 'buttons', 'data-key': 'again' },
        button(t('look_again'), 'lookAgain'),
        trace?.suggestion?.action !== 'browse' && button(t('browse_too'), 'browse'),
        h('small', null, t('browse_note')),
      ),
    ],
    actions: {
      lookAgain: () => look(false),
      browse: () => look(true),
      async replayThis() {
        const done = await change('POST', `/api/v1/parked/${encodeURIComponent(id)}/replay`, {}, t('replayed_one'));
        if (done) await look(false);
      },
    },
  };
}

const LOOKED = { looked: ['✓', 'good'], not_looked: ['○', 'quiet'], could_not: ['✕', 'error'] };
const NOTHING_THERE = ['–', 'quiet'];

function timeline(trace) {
  return h(
    'section',
    { 'data-key': 'timeline' },
    h('h3', null, t('timeline')),
    h('ol', { class: 'timeline' }, trace.steps.map(step)),
    trace.events?.length > 0 && [
      h('h3', null, t('events')),
      h(
        'ul',
        { class: 'events' },
        trace.events.map((event) => h('li', null, clock(event.at), ' ', foreign(event.text))),
      ),
    ],
  );
}

function step({ source, system, looked, found, code, text, at, details }) {
  const [sign, kind] = found === false ? NOTHING_THERE : (LOOKED[looked] ?? ['?', 'quiet']);
  const about = Object.entries(details ?? {}).filter(([, value]) => value != null);
  return h(
    'li',
    { class: kind },
    h(
      'p',
      null,
      h('strong', null, name('source', source), system && [' ', foreign(system)]),
      ' ',
      h(
        'span',
        { class: `state ${kind}` },
        h('span', { 'aria-hidden': 'true' }, sign),
        ` ${name('looked', looked)}`,
        found != null && `, ${t(found ? 'found' : 'not_found')}`,
      ),
      at && [' · ', clock(at), ' (', age(at), ' ', t('ago'), ')'],
    ),
    h('p', null, told('step', code, { text: visible(text) }) ?? inEnglish(text)),
    about.length > 0 &&
      h(
        'dl',
        null,
        about.map(([key, value]) =>
          h(
            'div',
            null,
            h('dt', null, knows(`detail_${key}`) ? t(`detail_${key}`) : foreign(key)),
            h('dd', null, detail(key, value)),
          ),
        ),
      ),
  );
}

/// A sentence of the worker's, for what this page has no text.
function inEnglish(text) {
  return h('span', { lang: 'en' }, foreign(text));
}

const A_TIME = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)$/;

function detail(key, value) {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (A_TIME.test(text)) return clock(text);
  return key === 'lane' ? name('state', text) : outside(text, text);
}

const MOVING = { true: ['✓', 'good'], false: ['✕', 'error'], null: ['?', 'warning'] };

/// The verdict in a few words.
function outcome({ code, moving, since }) {
  const [sign, kind] = MOVING[moving];
  return h(
    'p',
    null,
    h('strong', { class: `state ${kind}` }, h('span', { 'aria-hidden': 'true' }, sign), ` ${t(`moving_${moving}`)}`),
    ' ',
    told('verdict', code),
    since && [' (', t('since'), ' ', clock(since), ')'],
  );
}

function verdict({ verdict }) {
  return h(
    'section',
    { 'data-key': 'verdict', class: `verdict ${MOVING[verdict.moving][1]}` },
    h('h3', null, t('verdict')),
    outcome(verdict),
    particulars(verdict),
  );
}

/// The verdict in the worker's sentence, which has names and times in it.
function particulars({ code, text }) {
  const sentence = h('p', null, inEnglish(text));
  const enough = speaks() !== 'en' && told('verdict', code);
  return enough ? h('details', null, h('summary', null, t('in_english')), sentence) : sentence;
}

function suggestion({ suggestion, steps }, id) {
  if (!suggestion) return null;
  const { code, text, action, command } = suggestion;
  const system = steps.find((step) => step.found && systems().includes(step.system))?.system;
  return h(
    'section',
    { 'data-key': 'suggestion' },
    h('h3', null, t('suggestion')),
    h('p', null, told('suggest', code) ?? inEnglish(text)),
    h(
      'p',
      { class: 'buttons' },
      mayControl() || action === 'browse' ? act(action, system, id) : action && h('small', null, t('how_to_control')),
    ),
    command &&
      h(
        'p',
        { class: 'command' },
        h('code', null, foreign(command)),
        ' ',
        button(t('copy'), 'copy', { text: command }),
      ),
  );
}

function act(action, system, id) {
  const main = { class: 'main' };
  return {
    replay: () => button(t('replay_one'), 'replayThis', { id }, main),
    sweep: () => system && button(t('sweep'), 'sweep', { system }, main),
    resume: () => system && button(t('resume'), 'resume', { system }, main),
    browse: () => button(t('browse_too'), 'browse', {}, main),
    repair: () => h('a', { href: '#/reconcile' }, t('to_reconciliation')),
  }[action]?.();
}
