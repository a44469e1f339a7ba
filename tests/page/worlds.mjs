// The worlds that a test may order: what a made-up worker says, in the shapes of the API. Knows no HTTP.

/// The time so many seconds ago.
export const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
/// The id of a task.
export const id = (n) => `${String(n).padStart(8, '0')}-4e37-25c7-7e45-8541e7d97ca3`;

// ---- What it says, unless a test says otherwise

export function lane(system, more = {}) {
  return {
    system,
    target: `${system} at https://${system}.example`,
    state: 'works',
    reason: null,
    since: ago(4000),
    next_try_in_seconds: null,
    paused_until: null,
    paused_by: null,
    ready: true,
    not_ready_because: null,
    consumers: 1,
    waiting: { queue: 0, taken: 0 },
    retrying: 0,
    in_hand: 0,
    oldest_waiting_seconds: null,
    open: 0,
    unanswered: 0,
    foreign: 0,
    oldest_open_seconds: null,
    open_is_current: true,
    last_ack_at: ago(40),
    last_message_at: ago(40),
    last_sweep_at: ago(21),
    sweep_seconds: 1,
    rate_per_minute: Array(60).fill(0),
    requests_left: null,
    queues: {
      input: `${system}.queue`,
      retry: `${system}.retry.queue`,
      sent: `${system}.sent.queue`,
      retry_messages: 0,
      sent_messages: 0,
    },
    counters: { received: 0, created: 0, parked: 0, answered: 0, duplicates_prevented: 0 },
    ...more,
  };
}

const calm = () => ({
  version: '0.1.0',
  pid: 7,
  started_at: ago(93_000),
  host: 'worker-1',
  log_level: 'INFO',
  ready: true,
  attention: [],
  lanes: [lane('bitrix24'), lane('email')],
  queues: [
    { name: 'errors.camunda_tasks.queue', role: 'errors', messages: 0, consumers: 0, checked_at: ago(3) },
    { name: 'camunda.responses.queue', role: 'responses', messages: 0, consumers: 1, checked_at: ago(3) },
  ],
  replay: null,
  reconciliation: null,
  last_event: 0,
});

const busy = () => ({
  ...calm(),
  attention: [
    {
      level: 'error',
      system: 'bitrix24',
      code: 'target_away',
      text: 'bitrix24 waits 12 min: 401, the webhook is not accepted',
      since: ago(725),
      values: { seconds: 725, reason: '401, the webhook is not accepted: expired_token' },
    },
    {
      level: 'warning',
      system: 'email',
      code: 'paused',
      text: 'email is paused',
      since: ago(3700),
      values: { reason: 'сервер почты обновляется' },
    },
    {
      level: 'warning',
      system: null,
      code: 'parked',
      text: '14 messages are parked',
      since: ago(90_000),
      values: { count: 14 },
    },
    {
      level: 'warning',
      system: 'bitrix24',
      code: 'unanswered',
      text: '1 task is finished and unanswered',
      since: null,
      values: { count: 1 },
    },
    {
      level: 'warning',
      system: null,
      code: 'invented_tomorrow',
      text: 'Something that this page does not know yet',
      since: null,
      values: {},
    },
  ],
  lanes: [
    lane('bitrix24', {
      state: 'target_away',
      reason: '401, the webhook is not accepted: expired_token',
      since: ago(725),
      next_try_in_seconds: 48,
      ready: false,
      not_ready_because: 'the target does not answer',
      waiting: { queue: 340, taken: 12 },
      in_hand: 14,
      retrying: 2,
      oldest_waiting_seconds: 720,
      open: 120,
      unanswered: 1,
      oldest_open_seconds: 86_400 * 3 + 7200,
      open_is_current: false,
      requests_left: 64,
      rate_per_minute: Array.from({ length: 60 }, (_, i) => (i < 47 ? Math.round(6 + 5 * Math.sin(i / 5)) : 0)),
    }),
    lane('openproject', {
      open: 1204,
      oldest_open_seconds: 86_400 * 40,
      in_hand: 1,
      waiting: { queue: null, taken: 0 },
      rate_per_minute: Array.from({ length: 60 }, (_, i) => i % 7),
    }),
    lane('email', {
      state: 'paused',
      reason: 'сервер почты обновляется',
      since: ago(3700),
      paused_until: ago(-900),
      paused_by: 'control',
      waiting: { queue: 21, taken: 0 },
      oldest_waiting_seconds: 3600,
    }),
    lane('telegram', { rate_per_minute: Array.from({ length: 60 }, (_, i) => (i === 59 ? 3 : 0)), requests_left: 100 }),
  ],
  queues: [
    { name: 'errors.camunda_tasks.queue', role: 'errors', messages: 14, consumers: 0, checked_at: ago(3) },
    { name: 'camunda.responses.queue', role: 'responses', messages: 2, consumers: 1, checked_at: ago(3) },
  ],
  last_event: 5,
});

const TITLES = [
  'Согласовать договор «Ромашка» №7',
  'Проверить счёт №5',
  'Подписать акт приёмки',
  'Утвердить смету на ремонт',
];

function task(n, more = {}) {
  const age = 86_400 * 3 - n * 3571;
  return {
    task_id: id(n),
    process_id: `p-${n}`,
    title: TITLES[n % 4],
    system: 'bitrix24',
    state: 'open',
    since: ago(age),
    age_seconds: age,
    attempts: 0,
    next_try_in_seconds: null,
    error: null,
    target_id: String(8000 + n),
    link: `https://bitrix24.example/tasks/${8000 + n}/`,
    step: null,
    ...more,
  };
}

export function parkedEntry(n, more = {}) {
  return {
    id: id(100_000 + n),
    parked_at: ago(90_000 - n),
    cause: n % 7 ? 'REQUEST_ERROR' : 'RETRY_LIMIT_EXCEEDED',
    error:
      n % 7
        ? 'bitrix24: tasks.task.add: 400, "RESPONSIBLE_ID": user 318 is dismissed'
        : 'bitrix24: tasks.task.add: 503',
    system: 'bitrix24',
    source_queue: 'bitrix24.queue',
    attempts: n % 7 ? 1 : 5,
    title: TITLES[n % 4],
    process_id: `p-${n}`,
    advice: 'correct what the target objects to, then repeat it',
    replayable: true,
    etag: `${n}-1`,
    ...more,
  };
}

const TASKS = () => [
  ...Array.from({ length: 70 }, (_, n) => task(n)),
  task(70, { state: 'unanswered', error: 'the answer text of 31 is not known' }),
  task(71, {
    state: 'retrying',
    attempts: 3,
    next_try_in_seconds: 48,
    error: 'bitrix24: tasks.task.add: 503',
    target_id: null,
    link: null,
  }),
  task(72, { state: 'in_hand', step: 'looking up or creating', target_id: null, link: null, title: null }),
];

export function trace(task_id, browsed) {
  return {
    task_id,
    process_id: 'p-17',
    title: TITLES[0],
    snapshot_at: ago(0),
    steps: [
      {
        source: 'worker',
        system: 'bitrix24',
        looked: 'looked',
        found: true,
        code: 'followed',
        text: 'The worker follows it in bitrix24: open, for 3 days.',
        at: ago(260_000),
        details: { lane: 'target_away', created: '2026-11-25T21:34:15+00:00' },
      },
      {
        source: 'target',
        system: 'bitrix24',
        looked: 'could_not',
        found: null,
        code: 'failed',
        text: '401: the webhook is not accepted.',
        at: ago(1),
        details: { link: 'https://bitrix24.example/tasks/8017/' },
      },
      ...['openproject', '1c', 'python-services'].map((system) => ({
        source: 'target',
        system,
        looked: 'not_looked',
        found: null,
        code: 'elsewhere',
        text: 'not asked: bitrix24 has the task',
        at: null,
        details: {},
      })),
      {
        source: 'camunda',
        system: null,
        looked: 'looked',
        found: true,
        code: 'locked',
        text: 'Camunda waits for it; the bridge has locked it until 2027-11-24.',
        at: ago(259_900),
        details: { topic: 'bitrix_create_task', worker: 'bridge', retries: null },
      },
      browsed
        ? {
            source: 'queues',
            system: null,
            looked: 'looked',
            found: true,
            code: 'found',
            text: 'It is in errors.camunda_tasks.queue.',
            at: ago(90_000),
            details: { cause: 'REQUEST_ERROR' },
          }
        : {
            source: 'queues',
            system: null,
            looked: 'not_looked',
            found: null,
            code: 'not_browsed',
            text: 'The queues were not browsed.',
            at: null,
            details: {},
          },
    ],
    events: [{ at: ago(260_000), text: 'created as task 8017' }],
    verdict: browsed
      ? {
          code: 'parked',
          text: 'It is parked as REQUEST_ERROR: user 318 is dismissed.',
          moving: false,
          since: ago(90_000),
        }
      : {
          code: 'open_unclear',
          text: 'bitrix24 has it as 8017: open. Whether the worker follows it was not found out.',
          moving: null,
          since: null,
        },
    suggestion: browsed
      ? {
          code: 'replay',
          text: 'Correct what the error names, then replay it.',
          action: 'replay',
          command: `task-creator parked replay ${task_id}`,
        }
      : {
          code: 'browse',
          text: 'Look into the queues as well.',
          action: 'browse',
          command: `task-creator trace --browse ${task_id}`,
        },
  };
}

const EVENTS = () =>
  [
    { level: 'info', kind: 'operator', system: 'email', by: 'control', text: 'paused: сервер почты обновляется' },
    { level: 'error', kind: 'log', system: 'bitrix24', by: null, text: 'pausing: 401, the webhook is not accepted' },
    {
      level: 'warning',
      kind: 'log',
      system: 'bitrix24',
      by: null,
      text: 'parking in errors.camunda_tasks.queue as REQUEST_ERROR',
    },
    { level: 'info', kind: 'operator', system: null, by: 'control', text: 'log level DEBUG for 600 s' },
    { level: 'info', kind: 'operator', system: 'telegram', by: 'control', text: 'sweep asked for' },
  ].map((event, i) => ({ number: i + 1, at: ago(4000 - i * 700), ...event }));

// ---- The worlds that a test may order

/// A message of which little is known.
const BARE = {
  cause: null,
  error: null,
  system: null,
  source_queue: null,
  attempts: null,
  title: null,
  process_id: null,
  advice: null,
  parked_at: null,
  replayable: false,
};

export const WORLDS = {
  busy: () => ({
    status: busy(),
    tasks: TASKS(),
    parked: Array.from({ length: 14 }, (_, n) => parkedEntry(n, n === 13 ? BARE : {})),
    events: EVENTS(),
  }),
  empty: () => ({ status: calm(), tasks: [], parked: [], events: [] }),
  off: () => ({ status: { ...calm(), lanes: [], queues: [] }, tasks: [], parked: [], events: [] }),
  crowded: () => ({ ...WORLDS.busy(), parked: Array.from({ length: 10_000 }, (_, n) => parkedEntry(n)) }),
  hostile: () => hostile(WORLDS.busy()),
};

export const HOSTILE = [
  '<img src=x onerror="alert(1)">',
  '</title><script>alert(2)</script>',
  '"><svg onload=alert(3)>',
  "javascript:alert('4')",
  'abc\u202egnp.exe\u202c',
  '\u2066\u2067rtl\u2069',
  'я'.repeat(3000),
  'w'.repeat(3000),
  '{count} {{x}} ${alert(5)}',
  '\u0000\u001b[31mred\u0007',
  'تست ' + 'עברית'.repeat(30),
  '&lt;b&gt;',
];

/// The same world, but everything that others write is hostile.
function hostile(world) {
  let next = 0;
  const text = () => HOSTILE[next++ % HOSTILE.length];
  const spoil = (thing, keys) =>
    keys.forEach((key) => {
      if (key in thing) thing[key] = text();
    });
  world.status.attention.forEach((item) => {
    item.values.reason = text();
    item.text = text();
  });
  world.status.lanes.forEach((each) => spoil(each, ['target', 'reason', 'not_ready_because']));
  world.status.host = text();
  world.tasks.forEach((each) => spoil(each, ['task_id', 'title', 'error', 'link', 'target_id', 'step']));
  world.parked.forEach((each, n) => {
    spoil(each, ['title', 'error', 'cause', 'advice', 'source_queue', 'process_id']);
    each.id = `${text()}${n}`;
  });
  world.events.forEach((each) => spoil(each, ['text', 'by', 'system']));
  world.text = text;
  return world;
}
