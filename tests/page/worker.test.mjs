// The page as a real worker serves it: MONITOR_URL is its address, MONITOR_TOKEN a token for it, if it wants one. It
// changes nothing there.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Browser, overflow, shot, visit } from './browser.mjs';
import { FILES, SECURITY } from './mock.mjs';

const { MONITOR_URL: url, MONITOR_TOKEN: token } = process.env;
const skip = url ? false : 'MONITOR_URL names no worker';
const browser = new Browser();
before(() => skip || browser.start());
after(() => skip || browser.stop());

test('each file of the page is served, free of the token, with what protects it', { skip }, async () => {
  for (const path of Object.keys(FILES)) {
    const answer = await fetch(new URL(path, url));
    assert.equal(answer.status, 200, path);
    const directives = (text) =>
      new Set(
        text
          .split(';')
          .map((each) => each.trim())
          .filter(Boolean),
      );
    const given = directives(answer.headers.get('content-security-policy') ?? '');
    assert.deepEqual(given, directives(SECURITY), path);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff', path);
  }
});

test('each screen shows what the worker says', { skip }, async () => {
  const { page, context, faults } = await visit(browser.browser, new URL('/', url).href, { token });
  try {
    await page.getByText('Требует внимания').first().waitFor({ timeout: 10_000 });
    for (const [name, hash] of Object.entries({
      lanes: '#/',
      tasks: '#/tasks',
      parked: '#/parked',
      events: '#/events',
      reconcile: '#/reconcile',
    })) {
      await page.evaluate((to) => {
        location.hash = to;
      }, hash);
      await page.locator('main h2').first().waitFor();
      await page.waitForFunction(() => !/Загружаю|Считаю/.test(document.querySelector('main').textContent));
      for (const width of [1280, 360]) {
        await page.setViewportSize({ width, height: 800 });
        assert.deepEqual(await overflow(page), { by: 0, what: [] }, `${name} ${width}`);
        await shot(page, `worker-${name}-${width}`);
      }
      assert.equal(await page.locator('main .error:not(li):not(.state)').count(), 0, name);
    }
    // The first task, if there is one.
    await page.evaluate(() => {
      location.hash = '#/tasks';
    });
    const first = page.locator('section[data-key=tasks] tbody a').first();
    if (await first.count()) {
      await first.click();
      await page.getByText('Итог').first().waitFor({ timeout: 20_000 });
      await shot(page, 'worker-task');
    }
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
  }
});
