// Speaking with the worker: its JSON API, the token, what an error means. Knows no screen.
//
// The token is kept for this tab only and goes out in a header, never in an address.

/// How long an answer may take. A trace or a replay waits for others; what is polled waits for nobody.
const PATIENCE_MS = 60_000;
const POLL_PATIENCE_MS = 10_000;

/// An answer that says no. `kind`: the last part of the problem's type.
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? `HTTP ${status}`);
    this.status = status;
    this.kind = String(body?.type ?? '')
      .split(':')
      .pop();
    this.title = body?.title ?? `HTTP ${status}`;
    this.detail = body?.detail ?? '';
  }
}

/// No answer at all.
export class Away extends Error {}

let token = sessionStorage.getItem('token');

export function hasToken() {
  return token !== null;
}

export function useToken(text) {
  token = text;
  if (text === null) sessionStorage.removeItem('token');
  else sessionStorage.setItem('token', text);
}

/// The body of the answer, null when there is none. `tag`: the ETag that a change insists on.
export async function call(method, path, { body, tag } = {}) {
  const answer = await send(method, path, { body, headers: tag ? { 'If-Match': tag } : {} });
  return json(answer);
}

export const get = (path) => call('GET', path);

/// Asks again for what was got before: null if nothing has changed since. It keeps the last ETag.
export class Polled {
  #path;
  #tag = null;

  constructor(path) {
    this.#path = path;
  }

  async next() {
    const headers = this.#tag ? { 'If-None-Match': this.#tag } : {};
    const answer = await send('GET', this.#path, { headers, patience: POLL_PATIENCE_MS });
    if (answer.status === 304) return null;
    const body = await json(answer);
    this.#tag = answer.headers.get('ETag');
    return body;
  }

  /// The next answer is a whole one.
  forget() {
    this.#tag = null;
  }
}

/// A path with a query: what is null or empty is left out.
export function path(base, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${base}?${text}` : base;
}

async function send(method, path, { body, headers = {}, patience = PATIENCE_MS }) {
  const all = { Accept: 'application/json', ...headers };
  if (token !== null) all.Authorization = `Bearer ${token}`;
  if (body !== undefined) all['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      // Ours alone decides what is new: a 304 must reach us.
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal: AbortSignal.timeout(patience),
    });
  } catch (error) {
    throw new Away(error.message);
  }
  if (answer.ok || answer.status === 304) return answer;
  throw new Problem(answer.status, await answer.json().catch(() => null));
}

async function json(answer) {
  if (answer.status === 204) return null;
  try {
    return await answer.json();
  } catch (error) {
    throw new Away(error.message);
  }
}
