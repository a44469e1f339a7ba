// A worker's monitor that is made up: it serves the page with the headers that the worker sends, answers its API with
// the shapes of the contract, and lets a test order what it says. It complains of each request that breaks the
// contract; a test ends with no complaint.

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';

import { WORLDS, ago, id, trace } from './worlds.mjs';

const PAGE = new URL('../../src/monitor/page/', import.meta.url);
const KINDS = { html: 'text/html', js: 'text/javascript', css: 'text/css' };

export const SECURITY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The routes of the page: each of its files, and `/`.
export const FILES = Object.fromEntries(
  readdirSync(PAGE)
    .filter((name) => KINDS[name.split('.').pop()])
    .map((name) => [name === 'index.html' ? '/' : `/${name}`, name]),
);

// ---- The server

/// More digits than a number holds: it is sent as a number.
const LONG = '12345678901234567890';

export class Mock {
  /// What it says; a test may change any part of it.
  world = WORLDS.busy();
  /// Tokens that it knows; null: reading is free, and control is as `access`.
  tokens = null;
  access = 'control';
  /// Changes a trace before it is told.
  traced = null;
  /// What broke the contract.
  complaints = [];
  /// Every request: { method, path, at }.
  requests = [];
  /// How long a list takes, in ms.
  delay = 0;
  /// The lanes carry orders out later.
  busy = false;
  #server = null;
  #port = 0;
  #runs = new Map();

  async start() {
    this.#server = createServer((request, response) => this.#take(request, response));
    await new Promise((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = this.#server.address().port;
    return this.url;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /// It goes away; `start` brings it back at the same place.
  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  order(name) {
    this.world = WORLDS[name]();
    this.#runs.clear();
    this.tokens = null;
    this.access = 'control';
    this.delay = 0;
    this.busy = false;
  }

  #complain(text) {
    this.complaints.push(text);
  }

  async #take(request, response) {
    const url = new URL(request.url, this.url);
    this.requests.push({
      method: request.method,
      path: url.pathname,
      query: url.search,
      at: Date.now(),
      authorization: request.headers.authorization,
    });
    if (url.pathname === '/favicon.ico') return response.writeHead(404).end();
    const file = FILES[url.pathname];
    if (file) {
      return response
        .writeHead(200, {
          'Content-Type': `${KINDS[file.split('.').pop()]}; charset=utf-8`,
          'Content-Security-Policy': SECURITY,
          'X-Content-Type-Options': 'nosniff',
          'Cache-Control': 'no-store',
          'Referrer-Policy': 'no-referrer',
        })
        .end(readFileSync(new URL(file, PAGE)));
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    if (this.delay && /parked|tasks/.test(url.pathname))
      await new Promise((resolve) => setTimeout(resolve, this.delay));
    let answer;
    try {
      answer = this.#answer(request, url, text);
    } catch (problem) {
      if (!problem.status) throw problem;
      const { status, name, detail = '' } = problem;
      return response
        .writeHead(status, { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' })
        .end(JSON.stringify({ type: `urn:task-creator:problem:${name}`, title: name, status, detail }));
    }
    const [status, body, headers = {}] = answer;
    response
      .writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers })
      .end(body === null ? undefined : JSON.stringify(body).replaceAll(`"${LONG}"`, LONG));
  }

  #answer(request, url, text) {
    const access = this.#accessOf(request, url);
    const method = request.method;
    if (method !== 'GET' && access !== 'control') {
      throw { status: 403, name: this.tokens ? 'read-only' : 'control-is-off' };
    }
    let body = null;
    if (text) {
      if (request.headers['content-type'] !== 'application/json')
        this.#complain(`${method} ${url.pathname}: a body that is not JSON`);
      body = JSON.parse(text);
    }
    const parts = url.pathname.split('/').slice(1).map(decodeURIComponent);
    if (parts[0] !== 'api' || parts[1] !== 'v1') {
      this.#complain(`${method} ${url.pathname}: no route`);
      throw { status: 404, name: 'no-such-path' };
    }
    const route =
      this.#routes()[
        `${method} ${parts
          .slice(2)
          .map((part, i) => (i === 1 && part !== 'causes' ? '*' : part))
          .join('/')}`
      ];
    if (!route) {
      this.#complain(`${method} ${url.pathname}: no route`);
      throw { status: 404, name: 'no-such-path' };
    }
    return route({ access, request, query: url.searchParams, body, name: parts[3] });
  }

  #accessOf(request, url) {
    if (/token/i.test(url.search)) this.#complain(`a token in an address: ${url}`);
    if (request.headers.cookie) this.#complain('a cookie');
    if (this.tokens === null) return this.access;
    const given = request.headers.authorization;
    if (!given) throw { status: 401, name: 'no-token' };
    const access = this.tokens[given.replace('Bearer ', '')];
    if (!access) throw { status: 401, name: 'wrong-token' };
    return access;
  }

  #only(query, allowed) {
    for (const key of query.keys()) {
      if (!allowed.includes(key)) this.#complain(`a parameter ${key} that nobody knows`);
    }
    const limit = query.get('limit');
    if (limit !== null && !(Number(limit) >= 1 && Number(limit) <= 200)) this.#complain(`limit=${limit}`);
  }

  #members(body, allowed) {
    for (const key of Object.keys(body ?? {})) {
      if (!allowed.includes(key)) this.#complain(`a member ${key} that nobody knows`);
    }
  }

  #part(items, query, more = {}) {
    const [from, limit] = [Number(query.get('cursor') ?? 0), Number(query.get('limit') ?? 50)];
    const rest = from + limit < items.length;
    return [
      200,
      {
        snapshot_at: ago(0),
        items: items.slice(from, from + limit),
        next_cursor: rest ? String(from + limit) : null,
        total: items.length,
        ...more,
      },
    ];
  }

  #routes() {
    const { world } = this;
    // What is polled has the numbers of a replay, not its messages.
    const numbers = (replay) => replay && { ...replay, items: undefined };
    const status = (access) => ({
      snapshot_at: ago(0),
      ...world.status,
      replay: numbers(world.status.replay),
      access,
    });
    const laneOf = (name) => {
      const found = world.status.lanes.find((each) => each.system === name);
      if (!found) throw { status: 404, name: 'unknown-system' };
      return found;
    };
    const has = (thing, q) => !q || JSON.stringify(Object.values(thing)).toLowerCase().includes(q.toLowerCase());
    const entryOf = (name) => {
      const found = world.parked.find((each) => each.id === name);
      if (!found) throw { status: 404, name: 'not-parked' };
      return found;
    };
    const chosen = ({ cause, system, q, ids }) =>
      world.parked.filter(
        (each) =>
          (!cause || each.cause === cause) &&
          (!system || each.system === system) &&
          (!ids || ids.includes(each.id)) &&
          has(each, q),
      );
    return {
      'GET status': ({ access, request }) => {
        const whole = { ...world.status, access };
        // As the worker's: a second look at a queue that has seen the same is no news.
        const lasting = { ...whole, queues: world.status.queues.map(({ checked_at, ...rest }) => rest) };
        const tag = `"${createHash('sha1').update(JSON.stringify(lasting)).digest('hex').slice(0, 12)}"`;
        if (request.headers['if-none-match'] === tag) return [304, null, { ETag: tag }];
        return [200, status(access), { ETag: tag }];
      },
      'PUT lanes/*/state': ({ name, body }) => {
        const found = laneOf(name);
        this.#members(body, body.state === 'paused' ? ['state', 'reason', 'for_seconds'] : ['state']);
        if (body.state === 'paused') {
          if (!body.reason || body.reason.length > 200) this.#complain('a pause without a reason');
          if (
            'for_seconds' in body &&
            !(Number.isInteger(body.for_seconds) && body.for_seconds >= 1 && body.for_seconds <= 604_800)
          )
            this.#complain(`for_seconds ${body.for_seconds}`);
          Object.assign(found, {
            state: 'paused',
            reason: body.reason,
            since: ago(0),
            paused_until: body.for_seconds ? ago(-body.for_seconds) : null,
          });
        } else {
          Object.assign(found, { state: 'works', reason: null, paused_until: null });
        }
        if (this.busy) return [202, { system: name, asked: true, state: body.state, comes_when: 'the lane has time' }];
        return [200, found];
      },
      'POST lanes/*/sweeps': ({ name, body }) => {
        if (body !== null) this.#complain('a sweep with a body');
        return [202, { system: laneOf(name).system, asked: true }];
      },
      'GET tasks': ({ query }) => {
        this.#only(query, ['state', 'system', 'older_than', 'q', 'limit', 'cursor']);
        const [state, system, older] = [query.get('state'), query.get('system'), Number(query.get('older_than') ?? 0)];
        return this.#part(
          world.tasks.filter(
            (each) =>
              (!state || each.state === state) &&
              (!system || each.system === system) &&
              each.age_seconds >= older &&
              has(each, query.get('q')),
          ),
          query,
          { complete: world.tasks.length < 1000 },
        );
      },
      'GET tasks/*': ({ name, query }) => {
        this.#only(query, ['browse']);
        const whole = trace(name, query.get('browse') === 'true');
        if (world.text) {
          whole.title = world.text();
          whole.steps.forEach((step) => {
            step.text = world.text();
            step.details = { [world.text()]: world.text(), link: world.text() };
          });
          whole.verdict.text = world.text();
          whole.suggestion.command = world.text();
        }
        this.traced?.(whole);
        return [200, whole];
      },
      'GET parked': ({ query }) => {
        this.#only(query, ['cause', 'q', 'system', 'limit', 'cursor']);
        return this.#part(chosen(Object.fromEntries(query)), query);
      },
      'GET parked/causes': () => {
        const groups = new Map();
        for (const each of world.parked) {
          const key = `${each.cause} ${each.system}`;
          const group = groups.get(key) ?? {
            cause: each.cause,
            system: each.system,
            count: 0,
            oldest_at: each.parked_at,
            newest_at: each.parked_at,
            advice: each.advice,
            example_error: each.error,
            example_id: each.id,
          };
          group.count += 1;
          group.newest_at = each.parked_at;
          groups.set(key, group);
        }
        return [200, { snapshot_at: ago(0), total: world.parked.length, causes: [...groups.values()] }];
      },
      'GET parked/*': ({ name }) => {
        const found = entryOf(name);
        const message = {
          task_id: found.id,
          topic: 'bitrix_create_task',
          variables: { title: found.title, sum: LONG },
        };
        return [200, { ...found, why_not: null, message, body_base64: null }, { ETag: `"${found.etag}"` }];
      },
      'POST parked/*/replay': ({ name, request }) => {
        this.#match(request, entryOf(name), false);
        const replay = this.#replay({ ids: [name], limit: 1, per_second: 1, stop_on_failure: true, dry_run: false });
        return [202, { id: name, state: 'replayed', replay }];
      },
      'DELETE parked/*': ({ name, request }) => {
        this.#match(request, entryOf(name), true);
        world.parked = world.parked.filter((each) => each.id !== name);
        return [204, null];
      },
      'POST replays': ({ body }) => {
        this.#members(body, [
          'cause',
          'ids',
          'system',
          'q',
          'limit',
          'per_second',
          'stop_on_failure',
          'dry_run',
          'all',
        ]);
        if (!body.cause && !body.ids && body.all !== true) this.#complain('a replay of nothing');
        const replay = this.#replay(body);
        return [202, replay, { Location: `/api/v1/replays/${replay.id}` }];
      },
      'GET replays/*': ({ name }) => [200, this.#goOn(name)],
      'DELETE replays/*': ({ name }) => {
        const replay = this.#runs.get(name);
        Object.assign(replay, { state: 'stopped', ended_at: ago(0) });
        return [202, replay];
      },
      'POST reconciliations': ({ body }) => {
        this.#members(body, ['older_than_seconds', 'repair', 'limit', 'per_second']);
        return this.#reconcile(body);
      },
      'GET reconciliations/*': ({ name }) => [200, this.#reconciled(name)],
      'GET events': ({ query }) => {
        this.#only(query, ['after', 'limit']);
        const after = Number(query.get('after') ?? 0);
        const events = world.events.filter((each) => each.number > after).slice(0, Number(query.get('limit') ?? 50));
        return [200, { snapshot_at: ago(0), first: 1, last: world.events.at(-1)?.number ?? 0, events }];
      },
      'PUT log-level': ({ body }) => {
        this.#members(body, ['level', 'for_seconds']);
        if (!['DEBUG', 'INFO', 'WARNING', 'ERROR'].includes(body.level)) this.#complain(`level ${body.level}`);
        world.status.log_level = body.level;
        return [200, { level: body.level, until: ago(-body.for_seconds) }];
      },
    };
  }

  #match(request, entry, required) {
    const tag = request.headers['if-match'];
    if (tag && !/^(\*|".*")$/.test(tag)) this.#complain(`If-Match: ${tag}`);
    if (required && !tag) this.#complain('a change without If-Match');
    if (tag && tag !== '*' && tag !== `"${entry.etag}"`) throw { status: 412, name: 'message-changed' };
  }

  #replay({ cause = null, system, q, ids, limit, per_second, dry_run }) {
    for (const [name, value] of Object.entries({ limit, per_second })) {
      if (!Number.isInteger(value) || value < 1) this.#complain(`${name}: ${value}`);
    }
    if ([...this.#runs.values()].some((run) => run.state === 'running'))
      throw { status: 409, name: 'replay-is-running' };
    const matched = this.world.parked
      .filter(
        (each) =>
          (!cause || each.cause === cause) &&
          (!system || each.system === system) &&
          (!ids || ids.includes(each.id)) &&
          (!q || each.title?.includes(q)),
      )
      .slice(0, limit);
    const replay = {
      id: String(this.#runs.size + 1),
      state: 'running',
      by: 'control',
      started_at: ago(0),
      ended_at: null,
      cause,
      dry_run,
      matched: matched.length,
      complete: true,
      replayed: 0,
      settled: 0,
      failed_again: 0,
      not_followed: 0,
      left: matched.length,
      skipped: 0,
      error: null,
      items: matched.map((each) => ({ id: each.id, state: 'left', error: null })),
    };
    this.#runs.set(replay.id, replay);
    this.world.status.replay = replay;
    return replay;
  }

  /// Each question moves a replay on.
  #goOn(name) {
    const replay = this.#runs.get(name);
    if (!replay) throw { status: 404, name: 'unknown-replay' };
    if (replay.state !== 'running') return replay;
    const next = replay.items.filter((item) => item.state === 'left').slice(0, 7);
    next.forEach((item, n) => {
      item.state = n === 3 ? 'failed_again' : 'settled';
      item.error = n === 3 ? '400, "RESPONSIBLE_ID": user 318 is dismissed' : null;
    });
    const count = (state) => replay.items.filter((item) => item.state === state).length;
    Object.assign(replay, {
      settled: count('settled'),
      failed_again: count('failed_again'),
      left: count('left'),
      replayed: replay.matched - count('left'),
    });
    if (replay.left === 0) {
      Object.assign(replay, { state: 'done', ended_at: ago(0) });
      const settled = new Set(replay.items.filter((item) => item.state === 'settled').map((item) => item.id));
      if (!replay.dry_run) this.world.parked = this.world.parked.filter((each) => !settled.has(each.id));
    }
    return replay;
  }

  #reconcile({ older_than_seconds, repair }) {
    if (!Number.isInteger(older_than_seconds)) this.#complain(`older_than_seconds: ${older_than_seconds}`);
    const run = {
      id: String(this.#runs.size + 1),
      state: 'running',
      by: 'control',
      started_at: ago(0),
      ended_at: null,
      repair,
      checked: 120,
      counts: { lost: 1, untracked: 1, unanswered: 0, parked: 2, orphan: 0, in_hand: 116, unknown: 0 },
      notes: ['The history of Camunda was not asked.'],
      repaired: 0,
      healed: 0,
      error: null,
    };
    this.#runs.set(run.id, run);
    this.world.status.reconciliation = run;
    return [202, run, { Location: `/api/v1/reconciliations/${run.id}` }];
  }

  #reconciled(name) {
    const run = this.#runs.get(name);
    Object.assign(run, { state: 'done', ended_at: ago(0), repaired: run.repair ? 2 : 0, healed: run.repair ? 1 : 0 });
    const items = ['lost', 'untracked', 'parked', 'parked'].map((kind, n) => ({
      task_id: id(500 + n),
      process_id: `p-${n}`,
      class: kind,
      system: 'bitrix24',
      age_seconds: 86_400 * (n + 1),
      text:
        kind === 'lost'
          ? 'Camunda waits for it; no queue and no target has it.'
          : 'Its message is parked as REQUEST_ERROR.',
      action: n < 2 ? (run.repair ? 'unlocked' : 'would_unlock') : 'none',
      healed: n < 2 && run.repair ? n === 0 : null,
    }));
    return { ...run, items };
  }
}

// Started by hand: a page to look at. `node tests/page/mock.mjs [WORLD]`
if (process.argv[1] === new URL(import.meta.url).pathname) {
  const mock = new Mock();
  mock.order(process.argv[2] ?? 'busy');
  console.log(await mock.start());
}
