// What all screens share: the last status, who may do what, notices, and carrying something out. Knows no single
// screen.

import { Away, Problem, call } from './api.js';
import { foreign, h, patch } from './dom.js';
import { t, told } from './say.js';

export const page = {
  /// The last answer of /api/v1/status, null before the first.
  status: null,
  /// Why there is none: 401 or 403, a Problem.
  refused: null,
  /// Since when the worker has not answered, in ms of this machine's clock; null while it does.
  awaySince: null,
  /// What is below the head: { title(), draw(), actions, load(), changed(status) }.
  screen: null,
  /// Draws all again; set by app.js.
  redraw: () => {},
  /// Asks for the status now; set by app.js.
  refresh: () => {},
};

export function mayControl() {
  return page.status?.access === 'control';
}

export function systems() {
  return page.status?.lanes.map((lane) => lane.system) ?? [];
}

/// What an error means, in a sentence.
export function explain(error) {
  if (error instanceof Away) return t('no_answer');
  const { kind, title, detail } = error;
  return told('problem', kind, { detail }) ?? (detail ? `${title} (${detail})` : title);
}

let noticeText = null;

/// Tells the person what their doing has led to; stays until the next notice or screen. `null` takes it away.
export function notice(text, level = 'info') {
  noticeText = text && { text, level };
  drawNotice();
}

export function drawNotice() {
  const shown =
    noticeText &&
    h(
      'p',
      { class: `notice ${noticeText.level}` },
      h('span', null, h('strong', null, `${t(`level_${noticeText.level}`)}: `), foreign(noticeText.text)),
      h('button', { type: 'button', 'data-action': 'closeNotice', 'aria-label': t('close') }, '×'),
    );
  patch(document.getElementById('notice'), shown ? [shown] : []);
}

/// For screen readers alone: something has changed by itself.
export function announce(text) {
  document.getElementById('announcement').textContent = text;
}

/// Carries out what a button or a form asks for, and says what went wrong. Null if it did.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Problem || error instanceof Away)) throw error;
    if (error.status === 401) page.refused = error;
    notice(explain(error), 'error');
    page.redraw();
    return null;
  }
}

/// The same for a change through the API: says `done` when it has worked and looks at the status at once. `done`: a
/// text, or what makes one of the answer.
export async function change(method, path, options, done) {
  return attempt(async () => {
    const body = (await call(method, path, options)) ?? {};
    notice(typeof done === 'function' ? done(body) : done, 'done');
    page.refresh();
    return body;
  });
}

/// A list that comes in parts. It is read when it is asked for, never by a poll: some of them browse a queue.
export class Pages {
  items = [];
  total = null;
  readAt = null;
  complete = true;
  loading = false;
  failed = null;
  #next = null;
  #read;
  /// Counts the questions: an answer to an earlier one than the last is not wanted any more.
  #asked = 0;

  /// `read`: asks for the part that a cursor names.
  constructor(read) {
    this.#read = read;
  }

  get hasMore() {
    return this.#next !== null;
  }

  async first() {
    await this.#ask(null);
  }

  async more() {
    if (!this.loading) await this.#ask(this.#next);
  }

  async #ask(cursor) {
    const asked = ++this.#asked;
    this.loading = true;
    page.redraw();
    try {
      const part = await this.#read(cursor);
      if (asked !== this.#asked) return;
      this.items = cursor === null ? part.items : [...this.items, ...part.items];
      this.total = part.total;
      this.readAt = part.snapshot_at;
      this.complete = part.complete ?? true;
      this.#next = part.next_cursor;
      this.failed = null;
      announce(t('shown', { shown: this.items.length, total: this.total ?? this.items.length }));
    } catch (error) {
      if (asked !== this.#asked) return;
      this.failed = error;
      if (error.status === 401) page.refused = error;
    }
    this.loading = false;
    page.redraw();
  }
}

/// Shows what is at this address; reads it again, if that is shown already.
export function visit(to) {
  const before = location.hash;
  location.hash = to;
  if (location.hash === before) page.screen.load();
}
