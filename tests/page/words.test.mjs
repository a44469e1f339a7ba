// The texts of the page: both languages have all of them, with the same values in them and all forms of a plural; no
// text is missing, and none is left over.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

import { words } from '../../src/monitor/page/words.js';

const PAGE = new URL('../../src/monitor/page/', import.meta.url);
const code = readdirSync(PAGE)
  .filter((name) => name.endsWith('.js') && name !== 'words.js')
  .map((name) => readFileSync(new URL(name, PAGE), 'utf8'))
  .join('\n');

// Texts whose key is put together from a kind and a name of the worker's.
const KINDS = [
  'level',
  'attention',
  'state',
  'role',
  'task',
  'source',
  'step',
  'looked',
  'moving',
  'detail',
  'suggest',
  'verdict',
  'cause',
  'advice',
  'item',
  'run',
  'class',
  'classes',
  'action',
  'replay',
  'reconciliation',
  'problem',
];

const valuesIn = (text) => [...text.matchAll(/\{(\w+)/g)].map(([, name]) => name);

test('both languages have each text, with the same values', () => {
  for (const [key, texts] of Object.entries(words)) {
    assert.equal(texts.length, 2, key);
    const [english, russian] = texts;
    assert.ok(english && russian, key);
    assert.deepEqual(new Set(valuesIn(english)), new Set(valuesIn(russian)), key);
    assert.ok(!/[А-Яа-яЁё]/.test(english), `${key}: ${english}`);
  }
});

test('a plural has two forms in English and three in Russian', () => {
  for (const [key, texts] of Object.entries(words)) {
    texts.forEach((text, language) => {
      for (const [, forms] of text.matchAll(/\{\w+#([^}]*)\}/g))
        assert.equal(forms.split('|').length, language + 2, `${key}: ${text}`);
    });
  }
});

test('each text that the page asks for is there', () => {
  for (const [, key] of code.matchAll(/\bt\('([^']+)'/g)) assert.ok(key in words, key);
});

test('each text is asked for', () => {
  const literal = new Set([...code.matchAll(/'([a-z_]+)'/g)].map(([, key]) => key));
  const left = Object.keys(words).filter(
    (key) => !literal.has(key) && !KINDS.some((kind) => key.startsWith(`${kind}_`)),
  );
  assert.deepEqual(left, []);
});
