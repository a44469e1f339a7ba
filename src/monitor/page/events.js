// What has happened: the ring of events, newest first, read on when the status names a newer one; and the log level.

import { get, path } from './api.js';
import { brief, field, h, table, values } from './dom.js';
import { change, explain, mayControl, page } from './page.js';
import { clock, duration, name, t } from './say.js';

/// As many as the page keeps, and the most that one answer has.
const KEPT = 500;
const LARGEST_PART = 200;

const LEVELS = ['ERROR', 'WARNING', 'INFO', 'DEBUG'];
const SIGNS = { error: '✕', warning: '!', info: '·' };

export function eventsScreen() {
  let events = [];
  let last = 0;
  let failed = null;
  let reading = false;
  const readOn = async () => {
    if (reading) return;
    reading = true;
    try {
      let part;
      do {
        part = await get(path('/api/v1/events', { after: last, limit: LARGEST_PART }));
        events = [...part.events.toReversed(), ...events].slice(0, KEPT);
        last = part.events.at(-1)?.number ?? part.last;
      } while (last < part.last);
      failed = null;
    } catch (error) {
      failed = error;
    }
    reading = false;
    page.redraw();
  };
  return {
    title: () => t('events'),
    load: readOn,
    changed(status) {
      // Smaller: the worker was started again and counts from one.
      if (status.last_event < last) [events, last] = [[], 0];
      if (status.last_event > last) readOn();
    },
    draw: () => [
      h(
        'section',
        { 'data-key': 'level' },
        h('h2', null, t('log_level')),
        h('p', null, t('log_level_now'), ' ', h('strong', null, page.status.log_level)),
        mayControl() ? levelForm() : h('p', { class: 'hint' }, t('how_to_control')),
      ),
      h(
        'section',
        { 'data-key': 'events' },
        h('h2', null, t('events')),
        failed && h('p', { class: 'error' }, explain(failed)),
        events.length === 0 ? h('p', null, t('no_events')) : eventsTable(events),
      ),
    ],
    actions: {
      async setLevel(_, form) {
        const { level, lasts } = values(form);
        await change(
          'PUT',
          '/api/v1/log-level',
          { body: { level, for_seconds: Number(lasts) } },
          t('log_level_done', { level, duration: duration(Number(lasts)) }),
        );
      },
    },
  };
}

function levelForm() {
  return h(
    'form',
    { 'data-submit': 'setLevel', class: 'filters' },
    field(
      t('level'),
      'level',
      LEVELS.map((level) => [level, level]),
      'DEBUG',
    ),
    field(
      t('how_long'),
      'lasts',
      [60, 600, 3600, 86400].map((seconds) => [seconds, duration(seconds)]),
      600,
    ),
    h('p', { class: 'buttons' }, h('button', { type: 'submit', class: 'main' }, t('set'))),
  );
}

function eventsTable(events) {
  const columns = [
    [t('number'), 'number'],
    [t('time'), 'tight'],
    [t('level'), 'tight'],
    [t('system')],
    [t('event'), 'wide'],
    [t('who'), 'tight'],
  ];
  return table(
    t('events_caption'),
    columns,
    events.map((event) => ({
      key: event.number,
      cells: [
        String(event.number),
        clock(event.at),
        h(
          'span',
          { class: `state ${event.level === 'info' ? 'quiet' : event.level}` },
          h('span', { 'aria-hidden': 'true' }, SIGNS[event.level] ?? '·'),
          ` ${name('level', event.level)}`,
        ),
        event.system ? brief(event.system) : '–',
        brief(event.text, 400),
        event.by ? brief(event.by, 24) : '–',
      ],
    })),
  );
}
