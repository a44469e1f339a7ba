// Saying things in the language of the reader: sentences, numbers, times, lengths of time. Knows the browser's settings
// and `words.js`, and nothing of what is said.

import { h } from './dom.js';
import { words } from './words.js';

export const LANGUAGES = [
  ['en', 'English'],
  ['ru', 'Русский'],
];

let language = chosen() ?? preferred();
// Set by each answer of the worker: its clock counts, not that of this machine.
let ahead = 0;

function chosen() {
  try {
    const kept = localStorage.getItem('language');
    return LANGUAGES.some(([code]) => code === kept) ? kept : null;
  } catch {
    return null; // a browser that keeps nothing
  }
}

function preferred() {
  const known = navigator.languages
    .map((tag) => tag.slice(0, 2).toLowerCase())
    .find((tag) => LANGUAGES.some(([code]) => code === tag));
  return known ?? 'en';
}

export function speaks() {
  return language;
}

export function speak(code) {
  language = code;
  try {
    localStorage.setItem('language', code);
  } catch {
    // It holds until the page is closed.
  }
}

// ---- Sentences

/// The text named `key`. `{name}` stands for a value, `{name#one|other}` for the word that goes with a number, which
/// has three forms in Russian: `{name#задача|задачи|задач}`.
export function t(key, values = {}) {
  const text = words[key]?.[LANGUAGES.findIndex(([code]) => code === language)];
  if (text == null) return key;
  return text.replace(/\{(\w+)(?:#([^}]*))?\}/g, (_, name, forms) => {
    const value = values[name];
    if (forms) return form(forms.split('|'), value);
    return typeof value === 'number' ? number(value) : (value ?? '');
  });
}

/// Whether there is such a text.
export function knows(key) {
  return key in words;
}

/// The values that a text has places for.
function needs(key) {
  return [...words[key][0].matchAll(/\{(\w+)/g)].map(([, value]) => value);
}

/// What the page says where the worker names something and has a sentence of its own for it; null, if the name is new
/// to this page, or a value that the text needs is not there.
export function told(kind, code, values = {}) {
  const key = `${kind}_${code}`;
  const has = (value) => values[value] != null && values[value] !== '';
  return knows(key) && needs(key).every(has) ? t(key, values) : null;
}

/// The text of something that the worker names, such as a state; its own name, if it is new to this page.
export function name(kind, code) {
  return knows(`${kind}_${code}`) ? t(`${kind}_${code}`) : String(code);
}

function form(forms, count) {
  const rule = format(Intl.PluralRules).select(Number(count));
  const order = language === 'ru' ? ['one', 'few', 'many'] : ['one'];
  // What is left is English plural, and a Russian fraction ("1,5 задачи").
  const at = order.indexOf(rule);
  return forms[at >= 0 ? at : 1];
}

// ---- Numbers and times

export function number(value) {
  return value == null ? '–' : format(Intl.NumberFormat).format(value);
}

export function percent(value) {
  return value == null ? '–' : format(Intl.NumberFormat, { style: 'percent' }).format(value / 100);
}

/// Making one takes longer than using it a hundred times.
const formats = new Map();

function format(Kind, options = {}) {
  const key = `${language} ${Kind.name} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Kind(language, options));
  return formats.get(key);
}

/// "45 s", "12 min", "3 h 5 min", "2 days 4 h".
export function duration(seconds) {
  if (seconds == null) return '–';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return unit(whole, 'second');
  if (whole < 3600) return unit(Math.floor(whole / 60), 'minute');
  if (whole < 86400) return pair(whole, 3600, 'hour', 60, 'minute');
  return pair(whole, 86400, 'day', 3600, 'hour');
}

function pair(seconds, large, largeName, small, smallName) {
  const rest = Math.floor((seconds % large) / small);
  const first = unit(Math.floor(seconds / large), largeName);
  return rest ? `${first} ${unit(rest, smallName)}` : first;
}

function unit(count, name) {
  return format(Intl.NumberFormat, { style: 'unit', unit: name, unitDisplay: 'short' })
    .format(count)
    .replaceAll(' ', '\u00a0');
}

/// Now, by the worker's clock.
export function now() {
  return Date.now() + ahead;
}

export function setClock(iso) {
  const at = Date.parse(iso);
  if (!Number.isNaN(at)) ahead = at - Date.now();
}

export function secondsSince(iso) {
  return (now() - Date.parse(iso)) / 1000;
}

/// The full time, for people.
export function full(iso) {
  const at = new Date(iso);
  return Number.isNaN(at.valueOf())
    ? String(iso)
    : format(Intl.DateTimeFormat, { dateStyle: 'long', timeStyle: 'long' }).format(at);
}

/// How long ago, with the full time behind it.
export function age(iso) {
  return iso ? time(iso, duration(secondsSince(iso))) : '–';
}

/// The time of day, with the date if it is not today.
export function clock(iso) {
  if (!iso) return '–';
  const at = new Date(iso);
  const today = at.toDateString() === new Date(now()).toDateString();
  const style = today ? { timeStyle: 'medium' } : { dateStyle: 'short', timeStyle: 'medium' };
  return time(iso, format(Intl.DateTimeFormat, style).format(at));
}

function time(iso, text) {
  return h('time', { datetime: iso, title: full(iso) }, text);
}
