// What runs for a while at the worker: a replay with a brake, and a reconciliation. Shows how far each is, and asks
// again every two seconds while one runs and the page is seen.

import { get } from './api.js';
import { ask, brief, button, field, foreign, h, table, values } from './dom.js';
import { attempt, change, mayControl, notice, page } from './page.js';
import { age, clock, duration, name, number, secondsSince, t } from './say.js';

const ASK_AGAIN_MS = 2000;

export function isRunning(run) {
  return run?.state === 'running' || run?.state === 'waiting';
}

/// It runs, or has just ended: somebody waits to see it.
export function isRecent(run) {
  return isRunning(run) || (run?.ended_at && secondsSince(run.ended_at) < 600);
}

/// Follows a run until it has ended, then does `after`. `kind`: the member of the status that it is.
function follow(kind, path, id, after) {
  const ask = async () => {
    if (!document.hidden && page.awaySince === null) {
      const run = await attempt(() => get(`/api/v1/${path}/${encodeURIComponent(id)}`));
      if (run === null) return;
      if (kind === 'replay') lastSeen = run;
      if (page.status) page.status[kind] = { ...run };
      page.redraw();
      if (!isRunning(run)) {
        notice(t(`${kind}_ended`, { state: name('run', run.state) }), run.error ? 'error' : 'done');
        await after?.();
        return;
      }
    }
    setTimeout(ask, ASK_AGAIN_MS);
  };
  setTimeout(ask, ASK_AGAIN_MS);
}

// ---- Replays

/// The questions of a brake, then the replay.
export async function replayMany(what, count, title, after) {
  const given = await ask({
    title,
    text: t('replay_text', { count }),
    fields: [
      field(
        t('limit'),
        'limit',
        { type: 'number', min: 1, max: 10000, required: true },
        Math.min(20, count || 20),
        t('limit_note'),
      ),
      field(t('per_second'), 'per_second', { type: 'number', min: 1, max: 100, required: true }, 1),
      field(t('stop_on_failure'), 'stop_on_failure', { type: 'checkbox' }, true),
      field(t('dry_run'), 'dry_run', { type: 'checkbox' }, false),
    ],
    confirm: t('replay_do'),
    cancel: t('cancel'),
  });
  if (!given) return;
  const replay = await change('POST', '/api/v1/replays', { body: { ...what, ...given } }, t('replay_started'));
  if (replay) followReplay(replay, after);
}

/// The replay that was asked for last, with its messages: what is polled has the numbers only.
let lastSeen = null;

/// The messages of a replay, as far as this page has seen them.
function itemsOf(replay) {
  return replay.items ?? (isSame(lastSeen, replay) ? lastSeen.items : null) ?? [];
}

export function followReplay(replay, after) {
  lastSeen = replay;
  if (page.status) page.status.replay = replay;
  page.redraw();
  if (isRunning(replay)) follow('replay', 'replays', replay.id, after);
}

/// How far a replay is.
export function progress(replay) {
  const { matched, replayed } = replay;
  return h(
    'section',
    { 'data-key': 'replay', class: 'run' },
    h('h2', null, t('replay')),
    h(
      'p',
      null,
      h('strong', null, name('run', replay.state)),
      ' · ',
      [replay.cause, replay.system, replay.q].filter(Boolean).map((part) => [brief(part), ' · ']),
      replay.dry_run ? [t('dry_run'), ' · '] : null,
      t('started_by', { by: replay.by }),
      ' ',
      clock(replay.started_at),
    ),
    h('progress', {
      max: Math.max(1, matched),
      value: replayed + replay.skipped,
      'aria-label': t('replay_progress', { replayed, matched }),
    }),
    h('p', null, t('replay_progress', { replayed, matched })),
    h(
      'dl',
      { class: 'counts' },
      ['settled', 'failed_again', 'skipped', 'left'].map((state) =>
        h('div', null, h('dt', null, t(`replay_${state}`)), h('dd', null, number(replay[state]))),
      ),
    ),
    replay.error && h('p', { class: 'error' }, foreign(replay.error)),
    failures(itemsOf(replay)),
    isRunning(replay) && mayControl() && h('p', null, button(t('stop'), 'stopReplay', { id: replay.id })),
  );
}

function failures(items) {
  const bad = items.filter((item) => item.error || item.state === 'failed_again').slice(0, 20);
  if (bad.length === 0) return null;
  const rows = bad.map((item) => ({
    key: item.id,
    cells: [
      h('a', { href: `#/parked/${encodeURIComponent(item.id)}` }, brief(item.id)),
      name('item', item.state),
      brief(item.error),
    ],
  }));
  return table(t('replay_failures'), [[t('message')], [t('state')], [t('error')]], rows);
}

export const runActions = {
  async stopReplay({ id }) {
    await change('DELETE', `/api/v1/replays/${encodeURIComponent(id)}`, {}, t('stop_asked'));
  },
};

// ---- Reconciliation

/// The last one with its items.
let whole = null;

export function reconcileScreen() {
  const start = async ({ older_than_minutes, ...given }, repair) => {
    const body = { ...given, older_than_seconds: older_than_minutes * 60, repair };
    const run = await change('POST', '/api/v1/reconciliations', { body }, t('reconciliation_started'));
    if (!run) return;
    page.status.reconciliation = run;
    page.redraw();
    follow('reconciliation', 'reconciliations', run.id);
  };
  return {
    title: () => t('reconciliation'),
    draw: drawReconciliation,
    changed: readItems,
    actions: {
      look: (_, form) => start(values(form), false),
      async repair(_, element) {
        const form = element.closest('form');
        if (!form.reportValidity()) return;
        const given = values(form);
        const sure = await ask({
          title: t('repair_title'),
          text: t('repair_text', { count: given.limit }),
          confirm: t('repair_do'),
          cancel: t('cancel'),
          danger: true,
        });
        if (sure) await start(given, true);
      },
    },
  };
}

/// A worker that was started again counts from 1 again.
function isSame(one, other) {
  return one?.id === other.id && one.started_at === other.started_at;
}

/// The status has no items: they are read once when a run has ended.
async function readItems({ reconciliation: last }) {
  if (!last || isRunning(last) || isSame(whole, last)) return;
  const run = await attempt(() => get(`/api/v1/reconciliations/${encodeURIComponent(last.id)}`));
  if (run) whole = run;
  page.redraw();
}

function drawReconciliation() {
  const last = page.status.reconciliation;
  return [
    h(
      'section',
      { 'data-key': 'ask' },
      h('h2', null, t('reconciliation')),
      h('p', null, t('reconciliation_text')),
      mayControl() ? questions(isRunning(last)) : h('p', { class: 'hint' }, t('how_to_control')),
    ),
    last ? found(isSame(whole, last) ? whole : last) : h('p', { 'data-key': 'never' }, t('reconciliation_never')),
  ];
}

function questions(running) {
  return h(
    'form',
    { 'data-submit': 'look', class: 'filters' },
    field(t('older_than_minutes'), 'older_than_minutes', { type: 'number', min: 1, max: 525600, required: true }, 30),
    field(t('limit_tasks'), 'limit', { type: 'number', min: 1, max: 10000, required: true }, 100),
    field(t('per_second'), 'per_second', { type: 'number', min: 1, max: 100, required: true }, 1),
    h(
      'p',
      { class: 'buttons' },
      h('button', { type: 'submit', class: 'main', disabled: running }, t('look_only')),
      button(t('repair'), 'repair', {}, { disabled: running }),
    ),
  );
}

const WRONG = ['lost', 'untracked', 'unanswered', 'parked', 'orphan', 'unknown'];
const CLASSES = [...WRONG, 'in_hand'];

/// A run in two sentences and its counts.
export function summary(run) {
  return [
    h(
      'p',
      null,
      h('strong', null, name('run', run.state)),
      ' · ',
      run.repair ? t('with_repair') : t('without_repair'),
      ' · ',
      t('started_by', { by: run.by }),
      ' ',
      clock(run.started_at),
      ' (',
      age(run.started_at),
      ' ',
      t('ago'),
      ') · ',
      t('checked_count', { count: run.checked }),
    ),
    h(
      'dl',
      { class: 'counts' },
      CLASSES.map((kind) =>
        h('div', null, h('dt', null, name('classes', kind)), h('dd', null, number(run.counts?.[kind] ?? 0))),
      ),
    ),
    run.repair && h('p', null, t('repaired_count', { repaired: run.repaired, healed: run.healed })),
    run.error && h('p', { class: 'error' }, foreign(run.error)),
    run.notes?.map((note) => h('p', { class: 'quiet', lang: 'en' }, foreign(note))),
  ];
}

function found(run) {
  const columns = [
    [t('task')],
    [t('class')],
    [t('system')],
    [t('age'), 'number'],
    [t('what_is_known')],
    [t('what_was_done')],
  ];
  const rows = (run.items ?? []).map((item) => ({
    key: item.task_id,
    cells: [
      h('a', { href: `#/tasks/${encodeURIComponent(item.task_id)}` }, brief(item.task_id)),
      name('class', item.class),
      foreign(item.system ?? '–'),
      duration(item.age_seconds),
      brief(item.text),
      [
        name('action', item.action),
        item.healed != null && h('small', null, item.healed ? t('healed') : t('not_healed')),
      ],
    ],
  }));
  return h(
    'section',
    { 'data-key': 'found' },
    h('h2', null, t('result')),
    summary(run),
    WRONG.map(
      (kind) =>
        run.counts?.[kind] > 0 &&
        h('p', { class: 'hint' }, h('strong', null, `${name('classes', kind)}: `), t(`class_${kind}_means`)),
    ),
    rows.length > 0 && table(t('reconciliation_caption'), columns, rows),
    rows.length === 0 && run.state === 'done' && run.items && h('p', { class: 'calm' }, t('reconciliation_calm')),
  );
}
