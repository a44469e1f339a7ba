// The first screen: what needs attention, in sentences; the lanes with their buttons; the queues that belong to none.

import { path } from './api.js';
import { ask, brief, button, field, foreign, h, svg, table, visible } from './dom.js';
import { change, mayControl, page } from './page.js';
import { isRecent, progress, summary } from './runs.js';
import { age, clock, duration, name, number, percent, secondsSince, t, told } from './say.js';

export function lanesScreen() {
  return { title: () => t('lanes'), draw, actions: laneActions };
}

function draw() {
  const status = page.status;
  return [
    attention(status.attention),
    isRecent(status.replay) && progress(status.replay),
    lanes(status.lanes),
    queues(status.queues),
    status.reconciliation &&
      h(
        'section',
        { 'data-key': 'reconciliation' },
        h('h2', null, t('reconciliation')),
        summary(status.reconciliation),
      ),
    !mayControl() && h('p', { class: 'hint', 'data-key': 'control' }, t('how_to_control')),
  ];
}

// ---- What needs attention

function attention(items) {
  return h(
    'section',
    { 'data-key': 'attention', class: 'attention' },
    h('h2', null, t('attention')),
    items.length === 0
      ? h('p', { class: 'calm' }, h('span', { 'aria-hidden': 'true' }, '✓ '), t('attention_none'))
      : h(
          'ul',
          null,
          items.map((item) =>
            h(
              'li',
              { class: item.level },
              h('span', { 'aria-hidden': 'true', class: 'sign' }, item.level === 'error' ? '✕' : '!'),
              h(
                'span',
                null,
                h('strong', null, `${t(`level_${item.level}`)}: `),
                brief(sentence(item), 400),
                ' ',
                whereToLook(item),
              ),
            ),
          ),
        ),
  );
}

/// In the reader's language if this page knows the code and has what the sentence needs; else as the worker says it.
export function sentence({ code, system, text, since, values = {} }) {
  const seconds = since ? secondsSince(since) : values.seconds;
  const given = { ...values, system, duration: seconds == null ? null : duration(seconds) };
  return told('attention', code, given) ?? told('attention', `${code}_short`, given) ?? text;
}

const PLACES = {
  parked: () => '#/parked',
  lost: () => '#/reconcile',
  unanswered: (system) => path('#/tasks', { state: 'unanswered', system }),
};

function whereToLook({ code, system }) {
  return PLACES[code] && h('a', { href: PLACES[code](system) }, t('look'));
}

// ---- Lanes

const SIGNS = {
  works: '●',
  starting: '◌',
  paused: '‖',
  target_away: '✕',
  no_session: '✕',
  alarm: '✕',
  full_queue: '!',
  stalled: '!',
  stopping: '◌',
};

const CALM = { works: 'good', starting: 'quiet', paused: 'warning', stopping: 'quiet' };

function lanes(all) {
  const columns = [
    [t('lane'), 'lane'],
    [t('state'), 'how'],
    [t('waiting'), 'number'],
    [t('oldest'), 'number'],
    [t('in_hand'), 'number'],
    [t('retrying'), 'number'],
    [t('open'), 'number'],
    [t('unanswered'), 'number'],
    [t('rate'), 'rate'],
    [t('budget'), 'number'],
    [t('actions'), 'actions'],
  ];
  return h(
    'section',
    { 'data-key': 'lanes' },
    h('h2', null, t('lanes')),
    all.length === 0 ? h('p', null, t('no_lanes')) : table(t('lanes_caption'), columns, all.map(row)),
  );
}

function row(lane) {
  const { system } = lane;
  const tasks = (state, count) =>
    count ? h('a', { href: path('#/tasks', { state, system }) }, number(count)) : number(count);
  return {
    key: system,
    cells: [
      [h('strong', null, foreign(system)), h('small', null, brief(lane.target))],
      state(lane),
      waiting(lane.waiting),
      lane.oldest_waiting_seconds == null ? '–' : duration(lane.oldest_waiting_seconds),
      tasks('in_hand', lane.in_hand),
      tasks('retrying', lane.retrying),
      [
        tasks('open', lane.open),
        lane.open > 0 && h('small', null, t('oldest_is', { duration: duration(lane.oldest_open_seconds) })),
        // The last sweep ended early, or another worker sweeps.
        lane.last_sweep_at && lane.open_is_current === false && h('small', null, t('open_is_old')),
        lane.last_sweep_at && h('small', null, t('last_sweep'), ' ', age(lane.last_sweep_at), ' ', t('ago')),
      ],
      tasks('unanswered', lane.unanswered),
      rate(lane.rate_per_minute),
      percent(lane.requests_left),
      buttons(lane),
    ],
  };
}

function state(lane) {
  const details = [
    lane.reason && brief(lane.reason),
    lane.paused_by && t('paused_by', { by: visible(lane.paused_by) }),
    lane.since && lane.state !== 'works' && [t('since'), ' ', clock(lane.since)],
    lane.paused_until && [t('until'), ' ', clock(lane.paused_until)],
    lane.next_try_in_seconds != null && t('next_try', { duration: duration(lane.next_try_in_seconds) }),
    // Another state than these says it already.
    CALM[lane.state] && !lane.ready && lane.not_ready_because && [t('not_ready'), ' ', brief(lane.not_ready_because)],
  ].filter(Boolean);
  return [
    h(
      'span',
      { class: `state ${CALM[lane.state] ?? 'error'}` },
      h('span', { 'aria-hidden': 'true' }, SIGNS[lane.state] ?? '?'),
      ` ${name('state', lane.state)}`,
    ),
    details.map((detail) => h('small', null, detail)),
  ];
}

function waiting({ queue, taken }) {
  return [number(queue == null ? null : queue + taken), taken > 0 && h('small', null, t('taken', { count: taken }))];
}

/// The last hour as a drawing, and told as text.
function rate(minutes) {
  const current = minutes.at(-1) ?? 0;
  const sum = minutes.reduce((all, one) => all + one, 0);
  const most = Math.max(0, ...minutes);
  return [
    h('span', null, t('per_minute', { count: current })),
    sparkline(minutes, Math.max(1, most), t('rate_told', { sum, most })),
    h('small', null, t('per_hour', { sum })),
  ];
}

function sparkline(minutes, most, told) {
  const bars = minutes.map(
    (count, at) =>
      count > 0 && svg('rect', { x: at * 2, width: 1.6, y: 24 - (24 * count) / most, height: (24 * count) / most }),
  );
  return svg(
    'svg',
    {
      class: 'spark',
      viewBox: `0 0 ${minutes.length * 2} 24`,
      preserveAspectRatio: 'none',
      role: 'img',
      'aria-label': told,
    },
    svg('line', { x1: 0, x2: minutes.length * 2, y1: 24, y2: 24 }),
    bars,
  );
}

function buttons({ system, state }) {
  if (!mayControl()) return '–';
  const label = (text) => ({ 'aria-label': `${text}: ${system}` });
  return h(
    'span',
    { class: 'buttons' },
    state === 'paused'
      ? button(t('resume'), 'resume', { system }, label(t('resume')))
      : button(t('pause'), 'pause', { system }, label(t('pause'))),
    button(t('sweep'), 'sweep', { system }, label(t('sweep'))),
  );
}

// ---- Queues that belong to no lane

function queues(all) {
  const columns = [
    [t('queue')],
    [t('role')],
    [t('messages'), 'number'],
    [t('consumers'), 'number'],
    [t('checked'), 'number'],
  ];
  const rows = all.map((queue) => ({
    key: queue.name,
    cells: [
      foreign(queue.name),
      queue.role === 'errors' ? h('a', { href: '#/parked' }, name('role', queue.role)) : name('role', queue.role),
      number(queue.messages),
      number(queue.consumers),
      seen(queue.checked_at),
    ],
  }));
  return h('section', { 'data-key': 'queues' }, h('h2', null, t('queues')), table(t('queues_caption'), columns, rows));
}

/// How long before the status: an unchanged status is not sent again when a queue was looked at once more.
function seen(at) {
  return at ? duration((Date.parse(page.status.snapshot_at) - Date.parse(at)) / 1000) : '–';
}

// ---- What the buttons do

const LASTS = () => [
  [900, duration(900)],
  [3600, duration(3600)],
  [14400, duration(14400)],
  [86400, duration(86400)],
  ['', t('until_resumed')],
];

export const laneActions = {
  async pause({ system }) {
    const given = await ask({
      title: t('pause_title', { system: visible(system) }),
      text: t('pause_text'),
      fields: [
        field(t('reason'), 'reason', { type: 'text', required: true, maxlength: 200, autocomplete: 'off' }),
        field(t('how_long'), 'lasts', LASTS(), 900),
      ],
      confirm: t('pause_do'),
      cancel: t('cancel'),
    });
    if (!given) return;
    const body = { state: 'paused', reason: given.reason };
    if (given.lasts) body.for_seconds = Number(given.lasts);
    // A lane that is busy pauses later.
    const done = ({ asked }) => t(asked ? 'paused_later' : 'paused_done', { system });
    await change('PUT', `${lane(system)}/state`, { body }, done);
  },

  async resume({ system }) {
    const done = ({ asked }) => t(asked ? 'resumed_later' : 'resumed_done', { system });
    await change('PUT', `${lane(system)}/state`, { body: { state: 'running' } }, done);
  },

  async sweep({ system }) {
    await change('POST', `${lane(system)}/sweeps`, {}, t('sweep_done', { system }));
  },
};

function lane(system) {
  return `/api/v1/lanes/${encodeURIComponent(system)}`;
}
