// Building and updating what is on the screen. Knows no word of any language and nothing of the worker.
//
// A screen is drawn whole from its data (`h`), and `patch` changes only what differs, so that the focus, a selection
// and what somebody is typing stay. Text becomes text nodes only: whatever a title holds, it is never markup.

const SVG = 'http://www.w3.org/2000/svg';

/// An element. `attributes`: true is an empty attribute, false and null are none. `children`: nodes, text, lists, null.
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/// The same for a drawing.
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== false && value != null) element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child != null && child !== false) element.append(child);
  }
  return element;
}

/// Text that others have written. It cannot turn the text around it (`bdi`), and signs that nobody sees are shown by
/// their number: a title with a right-to-left override would otherwise read as another one.
export function foreign(text) {
  return h('bdi', null, visible(text));
}

/// The same in a list: its beginning, and all of it where the mouse rests.
export function brief(text, most = 160) {
  const all = visible(text);
  return all.length <= most ? h('bdi', null, all) : h('bdi', { title: all }, `${all.slice(0, most)}…`);
}

/// With the signs that nobody sees by their number.
export function visible(text) {
  return String(text ?? '').replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (sign) => `[U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}]`,
  );
}

/// A link to another site, if it is one to follow; else nothing.
export function outside(link, text) {
  const safe = /^https?:\/\//i.test(link ?? '');
  return safe ? h('a', { href: link, target: '_blank', rel: 'noopener noreferrer' }, brief(text)) : brief(text);
}

/// A table. `columns`: [heading, class]; `rows`: { key, cells }, the first cell names its row. Where the screen is
/// narrow each row is a card, and each cell has its heading in `data-label`; the roles keep it a table for a reader.
export function table(caption, columns, rows) {
  const headings = columns.map(([heading, kind]) =>
    h('th', { scope: 'col', role: 'columnheader', class: kind }, heading),
  );
  const line = ({ key, cells }) =>
    h(
      'tr',
      { role: 'row', 'data-key': key },
      cells.map((cell, i) => {
        const [heading, kind] = columns[i];
        const attributes = { class: kind, 'data-label': heading };
        return i === 0
          ? h('th', { scope: 'row', role: 'rowheader', ...attributes }, cell)
          : h('td', { role: 'cell', ...attributes }, cell);
      }),
    );
  return h(
    'table',
    { role: 'table' },
    h('caption', null, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, headings)),
    h('tbody', { role: 'rowgroup' }, rows.map(line)),
  );
}

/// A button that does `action`, a function of the screen or of the page, with `data`.
export function button(text, action, data = {}, more = {}) {
  const values = Object.entries(data).map(([name, value]) => [`data-${name}`, value]);
  return h('button', { type: 'button', 'data-action': action, ...Object.fromEntries(values), ...more }, text);
}

/// A field with its label. `kind`: attributes of an input, or a list of [value, text] for a select.
export function field(label, name, kind, value, note) {
  const id = `field-${name}`;
  const described = note ? `${id}-note` : null;
  const common = { id, name, 'aria-describedby': described };
  const input = Array.isArray(kind)
    ? h(
        'select',
        common,
        kind.map(([option, text]) =>
          h('option', { value: option, selected: String(option) === String(value ?? '') }, text),
        ),
      )
    : kind.type === 'checkbox'
      ? h('input', { ...common, ...kind, checked: value })
      : h('input', { ...common, ...kind, value });
  return h(
    'p',
    { class: kind.type === 'checkbox' ? 'field check' : 'field' },
    h('label', { for: id }, label),
    input,
    note && h('small', { id: described }, note),
  );
}

/// What is in a form: text, numbers, and true or false for a box to tick.
export function values(form) {
  const named = [...form.elements].filter((element) => element.name);
  return Object.fromEntries(
    named.map((element) => [
      element.name,
      element.type === 'checkbox'
        ? element.checked
        : element.type === 'number'
          ? element.valueAsNumber
          : element.value.trim(),
    ]),
  );
}

/// Asks in a dialog. Resolves to the values of its fields, or to null when the person does not want to.
export function ask({ title, text = [], fields = [], confirm, cancel, danger = false }) {
  const form = h(
    'form',
    null,
    h('h2', { id: 'dialog-title' }, title),
    [text].flat().map((sentence) => h('p', null, sentence)),
    fields,
    h(
      'p',
      { class: 'buttons' },
      h('button', { type: 'submit', class: danger ? 'danger' : 'main' }, confirm),
      h('button', { type: 'button', autofocus: danger }, cancel),
    ),
  );
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' }, form);
  return new Promise((resolve) => {
    let answer = null;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      answer = values(form);
      dialog.close();
    });
    form.querySelector('button[type=button]').addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// ---- Changing only what differs

/// Makes the children of `element` what `fresh` is: a list of nodes.
export function patch(element, fresh) {
  const keyed = new Map();
  for (const child of element.children) {
    if (child.dataset.key) keyed.set(child.dataset.key, child);
  }
  let at = element.firstChild;
  for (const next of fresh) {
    const key = next.dataset?.key;
    const old = key ? keyed.get(key) : at && !at.dataset?.key ? at : null;
    if (!old || !sameKind(old, next)) {
      element.insertBefore(next, at);
    } else {
      // A key may stand there twice: a task that was sent twice.
      keyed.delete(key);
      if (old === at) at = at.nextSibling;
      else element.insertBefore(old, at);
      update(old, next);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function sameKind(old, next) {
  return old.nodeType === next.nodeType && old.nodeName === next.nodeName && old.id === next.id;
}

function update(old, next) {
  if (next.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of old.getAttributeNames()) {
    // A person has opened it.
    if (!next.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  }
  patch(old, [...next.childNodes]);
}
