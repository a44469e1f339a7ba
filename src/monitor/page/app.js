// The page of the worker's operator. This file draws the frame, follows the address, asks for the status and passes
// what a person does to the screen that offers it. Screens: lanes.js, tasks.js, parked.js, runs.js, events.js.

import { Away, Polled, hasToken, path, useToken } from './api.js';
import { ask, brief, field, h, patch, values } from './dom.js';
import { eventsScreen } from './events.js';
import { laneActions, lanesScreen, sentence } from './lanes.js';
import { announce, attempt, drawNotice, explain, mayControl, notice, page, visit } from './page.js';
import { entryScreen, parkedScreen } from './parked.js';
import { reconcileScreen, runActions } from './runs.js';
import { LANGUAGES, clock, duration, secondsSince, setClock, speak, speaks, t } from './say.js';
import { searchScreen, taskScreen, tasksScreen } from './tasks.js';

const POLL_MS = 5000;

// ---- The address

const PLACES = [
  ['', 'lanes'],
  ['tasks', 'tasks'],
  ['parked', 'parked'],
  ['reconcile', 'reconciliation'],
  ['events', 'events'],
];

/// `#/tasks/ID?…` → ['tasks', 'ID', { … }]
function address() {
  const [place, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [first, ...rest] = place.split('/');
  return [first, decode(rest.join('/')), Object.fromEntries(new URLSearchParams(query))];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // an address typed by hand
  }
}

function screenOf([place, id, query]) {
  switch (place) {
    case 'tasks':
      return id ? taskScreen(id) : tasksScreen(query);
    case 'parked':
      return id ? entryScreen(id) : parkedScreen(query);
    case 'search':
      return searchScreen({ q: query.q ?? '' });
    case 'reconcile':
      return reconcileScreen();
    case 'events':
      return eventsScreen();
    default:
      return lanesScreen();
  }
}

function open() {
  notice(null);
  document.getElementById('main').replaceChildren();
  page.screen = screenOf(address());
  draw();
  page.screen.load?.();
  if (page.status) page.screen.changed?.(page.status);
}

function navigated() {
  open();
  // A screen reader starts reading here, and Tab goes on from here.
  document.getElementById('main').focus({ preventScroll: true });
  scrollTo(0, 0);
}

// ---- Drawing

function draw() {
  document.documentElement.lang = speaks();
  const count = page.status?.attention.length ?? 0;
  document.title = `${count ? `(${count}) ` : ''}${page.screen.title()} – Task Creator`;
  document.getElementById('skip').textContent = t('skip');
  patch(document.getElementById('head'), head(count));
  patch(document.getElementById('connection'), connection());
  drawNotice();
  const main = document.getElementById('main');
  const focused = main.contains(document.activeElement);
  patch(main, body());
  // What had the focus is gone, such as the button of a row: Tab goes on from here, not from the top.
  if (focused && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
}

function body() {
  const shown = page.refused ? tokenForm() : page.status ? page.screen.draw() : h('p', null, t('loading'));
  return [shown].flat(Infinity).filter((part) => part);
}

function head(count) {
  const { status } = page;
  const here = address()[0];
  return [
    h(
      'div',
      { class: 'title' },
      h('h1', null, h('a', { href: '#/' }, 'Task Creator')),
      status &&
        h(
          'p',
          { class: 'quiet' },
          brief(status.host, 60),
          ` · ${t('version', { version: status.version })} · `,
          t('runs_for', { duration: duration(secondsSince(status.started_at)) }),
        ),
    ),
    h(
      'form',
      { 'data-submit': 'search', role: 'search', class: 'search' },
      h('label', { for: 'search' }, t('search')),
      h('input', {
        id: 'search',
        name: 'q',
        type: 'search',
        placeholder: t('search_what'),
        autocomplete: 'off',
        maxlength: 200,
        required: true,
      }),
      h('button', { type: 'submit' }, t('find')),
    ),
    h(
      'nav',
      { 'aria-label': t('places') },
      PLACES.map(([place, name]) =>
        h(
          'a',
          { href: `#/${place}`, 'aria-current': here === place ? 'page' : null },
          t(name),
          place === '' &&
            count > 0 &&
            h('span', { class: 'badge' }, h('span', { class: 'unseen' }, `, ${t('attention')}: `), String(count)),
        ),
      ),
    ),
    h(
      'div',
      { class: 'choices' },
      access(),
      h(
        'span',
        { role: 'group', 'aria-label': t('language'), class: 'buttons' },
        LANGUAGES.map(([code, name]) =>
          h(
            'button',
            {
              type: 'button',
              lang: code,
              'data-action': 'speak',
              'data-code': code,
              'aria-pressed': String(code === speaks()),
            },
            name,
          ),
        ),
      ),
    ),
  ];
}

function access() {
  return (
    page.status &&
    h(
      'span',
      { class: 'buttons' },
      h('span', { class: 'state quiet' }, t(mayControl() ? 'access_control' : 'access_read')),
      h('button', { type: 'button', 'data-action': 'token' }, t('token_enter')),
      hasToken() && h('button', { type: 'button', 'data-action': 'forget' }, t('token_forget')),
    )
  );
}

function connection() {
  if (page.awaySince === null) return [];
  const since = new Date(page.awaySince).toISOString();
  return [
    h(
      'p',
      { class: 'away' },
      h('strong', null, `${t('level_error')}: `),
      t('away'),
      ' ',
      clock(since),
      // Not told anew each minute.
      h('span', { 'aria-hidden': 'true' }, ` (${duration((Date.now() - page.awaySince) / 1000)})`),
      '. ',
      page.status && `${t('away_stale')} `,
      t('away_again'),
    ),
  ];
}

// ---- The token

function tokenForm() {
  const { status } = page.refused;
  return h(
    'form',
    { 'data-submit': 'useToken', 'data-key': 'token', class: 'token' },
    h('h2', null, t('token_title')),
    h('p', null, t(status === 401 ? 'token_text' : 'token_refused')),
    h('p', { class: 'error' }, status === 401 && !hasToken() ? null : explain(page.refused)),
    tokenField(),
    h('p', { class: 'buttons' }, h('button', { type: 'submit', class: 'main' }, t('token_use'))),
  );
}

function tokenField() {
  const printable = '[!-~]+';
  return field(
    t('token'),
    'token',
    { type: 'password', required: true, pattern: printable, autocomplete: 'off', spellcheck: 'false' },
    null,
    t('token_note'),
  );
}

function newToken(token) {
  useToken(token);
  page.refused = null;
  page.status = null;
  status.forget();
  open();
  poll();
}

// ---- Asking for the status

const status = new Polled('/api/v1/status');
let timer = null;
let asking = false;
let answeredAt = Date.now();

/// Asks now, and again in a while unless nobody looks, or the worker wants a token first.
async function poll() {
  if (asking || document.hidden) return;
  asking = true;
  clearTimeout(timer);
  const fresh = await next();
  asking = false;
  if (!document.hidden && page.refused?.status !== 401) timer = setTimeout(poll, POLL_MS);
  if (fresh) take(fresh);
  draw();
}

/// The next status; null if nothing has changed, or there is none.
async function next() {
  try {
    const fresh = await status.next();
    back();
    page.refused = null;
    return fresh;
  } catch (error) {
    failed(error);
    return null;
  }
}

function take(fresh) {
  const before = page.status;
  setClock(fresh.snapshot_at);
  page.status = fresh;
  if (before) announceChanges(before, fresh);
  page.screen.changed?.(fresh);
}

function announceChanges(before, fresh) {
  const known = new Set(before.attention.map(identity));
  const now = new Set(fresh.attention.map(identity));
  const appeared = fresh.attention.filter((item) => !known.has(identity(item))).map(sentence);
  const over = before.attention
    .filter((item) => !now.has(identity(item)))
    .map((item) => t('over', { text: sentence(item) }));
  if (appeared.length + over.length > 0) announce([...appeared, ...over].join('. '));
}

function identity({ code, system }) {
  return `${code} ${system}`;
}

function failed(error) {
  if (error instanceof Away || error.status >= 500) {
    page.awaySince ??= answeredAt;
  } else {
    answeredAt = Date.now();
    page.awaySince = null;
    page.refused = error;
  }
}

function back() {
  if (page.awaySince !== null) {
    notice(t('back', { duration: duration((Date.now() - page.awaySince) / 1000) }), 'done');
    page.awaySince = null;
  }
  answeredAt = Date.now();
}

// ---- What a person does

const actions = {
  ...laneActions,
  ...runActions,
  search: (_, form) => visit(path('#/search', values(form))),
  speak: ({ code }) => {
    speak(code);
    draw();
  },
  useToken: (_, form) => newToken(form.elements.token.value),
  forget: () => newToken(null),
  closeNotice: () => notice(null),
  async token() {
    const given = await ask({
      title: t('token_title'),
      text: t('token_text'),
      fields: [tokenField()],
      confirm: t('token_use'),
      cancel: t('cancel'),
    });
    if (given) newToken(given.token);
  },
  async copy({ text }) {
    // Only pages from this machine or over TLS may use the clipboard.
    const copied = await navigator.clipboard?.writeText(text).then(
      () => true,
      () => false,
    );
    notice(copied ? t('copied') : `${t('copy_by_hand')} ${text}`, copied ? 'done' : 'info');
  },
};

function act(name, element) {
  const action = page.screen.actions?.[name] ?? actions[name];
  if (action) attempt(async () => action({ ...element.dataset }, element));
}

function listen() {
  document.addEventListener('click', (event) => {
    const element = event.target.closest?.('[data-action]');
    if (element) act(element.dataset.action, element);
  });
  document.addEventListener('submit', (event) => {
    const name = event.target.dataset.submit;
    if (!name) return;
    event.preventDefault();
    act(name, event.target);
  });
  document.getElementById('skip').addEventListener('click', (event) => {
    event.preventDefault(); // the part after # is ours
    document.getElementById('main').focus();
  });
  addEventListener('hashchange', navigated);
  document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : poll()));
}

page.redraw = draw;
page.refresh = poll;
listen();
open();
poll();
