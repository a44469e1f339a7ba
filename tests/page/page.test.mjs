// The page in a browser, against a worker that is made up. Each test orders a world, does what a person does, and ends
// with nothing done wrong: no error at the console, no dialog of a stranger's text, no request to elsewhere, and no
// request that breaks the contract.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { Browser, overflow, shot, visit } from './browser.mjs';
import { Mock } from './mock.mjs';
import { HOSTILE, parkedEntry } from './worlds.mjs';

const AXE = readFileSync(createRequire(`${process.env.PAGE_NODE_MODULES}/`).resolve('axe-core/axe.min.js'), 'utf8');
const TASK = '00000017-4e37-25c7-7e45-8541e7d97ca3';
const SCREENS = {
  lanes: '#/',
  tasks: '#/tasks',
  task: `#/tasks/${TASK}`,
  parked: '#/parked',
  search: '#/search?q=Ромашка',
  events: '#/events',
  reconcile: '#/reconcile',
};
const POLL_MS = 5000;

const browser = new Browser();
before(() => browser.start());
after(() => browser.stop());

/// Runs `steps` with a page in this world; it must end without a fault.
async function withPage(world, options, steps) {
  const mock = new Mock();
  mock.order(world);
  options.before?.(mock);
  await mock.start();
  const visited = await visit(browser.browser, `${mock.url}/${options.at ?? '#/'}`, options);
  visited.page.setDefaultTimeout(10_000);
  try {
    await steps({ ...visited, mock, text: (wanted) => visited.page.getByText(wanted).first().waitFor() });
    assert.deepEqual(visited.faults, []);
    assert.deepEqual(mock.complaints, []);
  } catch (error) {
    await shot(visited.page, 'FAILED');
    error.message += `\nfaults: ${visited.faults.join('\n')}\ncomplaints: ${mock.complaints.join('\n')}`;
    throw error;
  } finally {
    await visited.context.close();
    await mock.stop().catch(() => {});
  }
}

/// All that a screen loads is there.
async function settled(page) {
  await page.locator('main h2').first().waitFor();
  await page.waitForFunction(
    () => !/Загружаю|Loading|Ищу…|Looking…|Считаю|Counting/.test(document.querySelector('main').textContent),
  );
}

async function go(page, hash) {
  await page.evaluate((to) => {
    location.hash = to;
  }, hash);
  await page.waitForFunction((to) => decodeURIComponent(location.hash) === decodeURIComponent(to), hash);
  await settled(page);
}

/// Presses Tab until the element with this name has the focus.
async function tabTo(page, name) {
  for (let i = 0; i < 200; i += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(
      () => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent,
    );
    if (focused?.trim().startsWith(name)) return;
  }
  assert.fail(`Tab does not lead to ${name}`);
}

async function axe(page, what) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const told = violations.map(
    (each) =>
      `${what}: ${each.id}: ${each.help}: ${each.nodes
        .slice(0, 3)
        .map((node) => `${node.html.slice(0, 120)} ${node.failureSummary}`)
        .join(' | ')}`,
  );
  assert.deepEqual(told, []);
}

// ---- How it looks

for (const world of ['busy', 'empty', 'off']) {
  test(`every screen: ${world}: light and wide, dark and 360 px, without a violation of axe`, async () => {
    await withPage(world, {}, async ({ page }) => {
      for (const [name, hash] of Object.entries(SCREENS)) {
        await go(page, hash);
        for (const [width, scheme] of [
          [1280, 'light'],
          [360, 'dark'],
        ]) {
          await page.emulateMedia({ colorScheme: scheme });
          await page.setViewportSize({ width, height: 800 });
          assert.deepEqual(await overflow(page), { by: 0, what: [] }, `${name} ${width}`);
          if (world !== 'off') await shot(page, `${name}-${world}-${width}-${scheme}`);
          await axe(page, `${name} ${world} ${width} ${scheme}`);
        }
      }
    });
  });
}

test('no screen is wider than its window', async () => {
  for (const locale of ['ru-RU', 'en-GB']) {
    await withPage('busy', { locale }, async ({ page }) => {
      for (const [name, hash] of Object.entries(SCREENS)) {
        await go(page, hash);
        for (const width of [360, 480, 640, 768, 960, 1024, 1200, 1201, 1366, 1920]) {
          await page.setViewportSize({ width, height: 800 });
          assert.deepEqual(await overflow(page), { by: 0, what: [] }, `${name} ${width} ${locale}`);
        }
      }
    });
  }
});

test('what needs attention is said in sentences, in Russian and in English', async () => {
  await withPage('busy', {}, async ({ page, text }) => {
    await text('bitrix24 ждёт 12 мин: 401, the webhook is not accepted: expired_token');
    await text('14 отложенных сообщений ждут решения человека, самое старое 1 дн. 1 ч');
    await text('Something that this page does not know yet');
    assert.match(await page.title(), /^\(5\) /);
    await page.getByRole('button', { name: 'English' }).click();
    await text('bitrix24 waits 12 min: 401, the webhook is not accepted: expired_token');
    assert.equal(await page.getAttribute('html', 'lang'), 'en');
    await page.reload();
    await text('What needs attention');
  });
  await withPage('busy', { locale: 'en-GB' }, ({ text }) => text('What needs attention'));
  await withPage('busy', { locale: 'de-DE' }, ({ text }) => text('What needs attention'));
});

test('the sparkline is told as text', async () => {
  await withPage('busy', {}, async ({ page }) => {
    await settled(page);
    const told = await page.locator('tr[data-key=telegram] svg').getAttribute('aria-label');
    assert.equal(told, 'Создано за последний час: 3, самое большее 3 в минуту');
  });
});

test('open tasks that the last sweep has not seen are told from those that it has', async () => {
  await withPage('busy', {}, async ({ page }) => {
    await settled(page);
    const isOld = (lane) => page.locator(`tr[data-key=${lane}]`).getByText('устарело').count();
    assert.deepEqual([await isOld('bitrix24'), await isOld('openproject')], [1, 0]);
  });
});

// ---- Who may do what

test('without control there are no buttons, and a sentence says how to get it', async () => {
  await withPage(
    'busy',
    {
      before: (mock) => {
        mock.access = 'read';
      },
    },
    async ({ page, text }) => {
      await text('MONITOR_CONTROL_TOKEN');
      for (const hash of Object.values(SCREENS)) {
        await go(page, hash);
        assert.equal(
          await page
            .locator(
              '[data-action=pause], [data-action=replayOne], [data-action=discard], [data-action=replayCause], [data-action=repair]',
            )
            .count(),
          0,
          hash,
        );
      }
      await shot(page, 'read-only');
    },
  );
});

test('a token is asked for, kept for the tab, and sent in a header only', async () => {
  const before = (mock) => {
    mock.tokens = { 'control-token-of-32-bytes-or-more': 'control', 'read-token-of-32-bytes-or-more!!': 'read' };
  };
  await withPage('busy', { before, at: SCREENS.parked }, async ({ page, mock, text }) => {
    await text('Нужен токен');
    await shot(page, 'token');
    await axe(page, 'token');
    await page.getByLabel('Токен', { exact: true }).fill('a-wrong-one');
    await page.keyboard.press('Enter');
    await text('Воркер не знает этого токена');
    await page.getByLabel('Токен', { exact: true }).fill('control-token-of-32-bytes-or-more');
    await page.keyboard.press('Enter');
    await text('REQUEST_ERROR');
    await page.reload();
    await text('REQUEST_ERROR');
    assert.ok(!mock.requests.some(({ path, query }) => /token-of/.test(path + query)));
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [
      0,
      1,
      '',
    ]);
    await page.getByRole('button', { name: 'Забыть токен' }).click();
    await text('Нужен токен');
  });
});

// ---- What a person does

test('pause and resume with the keyboard alone', async () => {
  await withPage('busy', {}, async ({ page, mock, text }) => {
    await settled(page);
    await tabTo(page, 'Пауза: bitrix24');
    await page.keyboard.press('Enter');
    await text('Поставить bitrix24 на паузу?');
    await shot(page, 'pause');
    await axe(page, 'pause');
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('dialog').count(), 0);
    await page.keyboard.press('Enter');
    await page.keyboard.type('портал обновляется');
    await page.keyboard.press('Enter');
    await text('bitrix24 на паузе.');
    await page.getByRole('button', { name: 'Продолжить: bitrix24' }).waitFor();
    const { state, reason, paused_until } = mock.world.status.lanes[0];
    assert.deepEqual([state, reason, paused_until !== null], ['paused', 'портал обновляется', true]);
    // The focus is where it was: the button that was Pause is Resume now.
    await page.keyboard.press('Enter');
    await text('bitrix24 снова работает.');
    assert.equal(mock.world.status.lanes[0].state, 'works');
    // A lane that is busy does it later: nobody is told that it has done so.
    mock.busy = true;
    await page.getByRole('button', { name: 'Пауза: bitrix24' }).click();
    await page.keyboard.type('портал обновляется');
    await page.keyboard.press('Enter');
    await text('bitrix24: пауза запрошена и наступит');
  });
});

test('a replay of a cause with the keyboard alone, and its progress', async () => {
  await withPage(
    'busy',
    {
      before: (mock) => {
        mock.world.parked = Array.from({ length: 40 }, (_, n) => parkedEntry(n));
      },
    },
    async ({ page, mock, text }) => {
      await settled(page);
      await tabTo(page, 'Отложенные');
      await page.keyboard.press('Enter');
      await page.getByText('REQUEST_ERROR: система отказала').first().waitFor();
      await tabTo(page, 'Повторить все…: REQUEST_ERROR');
      await page.keyboard.press('Enter');
      await text('Повторить все REQUEST_ERROR?');
      await shot(page, 'replay-dialog');
      await axe(page, 'replay dialog');
      await page.keyboard.press('Enter');
      await text('повторено 7 из 20');
      await shot(page, 'replay-running');
      await axe(page, 'replay running');
      await text('Повтор: закончено.');
      await text('user 318 is dismissed');
      assert.equal(mock.world.status.replay.failed_again, 3);
      assert.equal(mock.world.parked.length, 23);
      await text('23 из 23');
      await shot(page, 'replay-done');
    },
  );
});

test('a second replay is refused with its reason', async () => {
  await withPage('busy', { at: SCREENS.parked }, async ({ page, text }) => {
    await settled(page);
    await page
      .getByRole('button', { name: /^Повторить: / })
      .first()
      .click();
    await text('Сообщение снова в своей очереди.');
    await page.getByRole('button', { name: 'Повторить все…: RETRY_LIMIT_EXCEEDED' }).click();
    await page.getByRole('button', { name: 'Начать' }).click();
    await text('Повтор уже идёт');
  });
});

test('a message is discarded after a question, and not if it has changed', async () => {
  await withPage('busy', { at: SCREENS.parked }, async ({ page, mock, text }) => {
    await settled(page);
    const discard = page.getByRole('button', { name: /^Удалить: / }).first();
    await discard.click();
    await shot(page, 'discard');
    await axe(page, 'discard');
    await page.keyboard.press('Enter'); // the focus is on Cancel
    assert.equal(mock.world.parked.length, 14);
    mock.world.parked[0].etag = 'other';
    await discard.click();
    await page.getByRole('button', { name: 'Удалить навсегда' }).click();
    await text('Сообщение успело измениться');
    assert.equal(mock.world.parked.length, 14);
    await page.getByRole('button', { name: 'Обновить' }).click();
    await page.locator('[data-etag=other]').first().waitFor();
    await discard.click();
    await page.getByRole('button', { name: 'Удалить навсегда' }).click();
    await text('Сообщение удалено.');
    assert.equal(mock.world.parked.length, 13);
    await text('13 из 13');
    // Its row is gone with the button that had the focus.
    assert.equal(await page.evaluate(() => document.activeElement.closest('main') !== null), true);
  });
});

test('a search finds tasks and parked messages, and leads to the page of a task', async () => {
  await withPage('busy', {}, async ({ page, text }) => {
    await settled(page);
    await page.getByRole('searchbox').fill('смету');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Поиск: смету' }).waitFor();
    await settled(page);
    assert.ok((await page.locator('section[data-key=tasks] tbody tr').count()) > 10);
    assert.equal(await page.locator('section[data-key=parked] tbody tr').count(), 3);
    await page.locator('section[data-key=tasks] tbody a').first().click();
    await text('Где искали');
  });
});

test('a link leads to the page of a task: where it was looked for, the verdict, one thing to do', async () => {
  await withPage('busy', { at: SCREENS.task }, async ({ page, mock, text }) => {
    await text('посмотреть не удалось');
    await text('Неизвестно.');
    await text(`task-creator trace --browse ${TASK}`);
    mock.world.parked.push({ ...parkedEntry(1), id: TASK });
    await page.getByRole('button', { name: 'Посмотреть и в очередях' }).click();
    await text('Нужен человек.');
    await shot(page, 'task-parked');
    await page.getByRole('button', { name: 'Повторить' }).click();
    await text('Сообщение снова в своей очереди.');
  });
});

test('the page of a task speaks the language of its reader, and the worker speaks where the page has no text', async () => {
  const english = (page) => page.locator('main [lang=en]:visible').allTextContents();
  const before = (mock) => {
    mock.traced = (trace) => {
      trace.steps[0].code = trace.verdict.code = trace.suggestion.code = 'invented_tomorrow';
    };
  };
  await withPage('busy', { at: SCREENS.task }, async ({ page, text }) => {
    await text('Следит за ней, пока её не завершат.');
    await text('Почему: 401: the webhook is not accepted.');
    await text('Открыта; следит ли за ней воркер, неизвестно.');
    await text('Посмотрите и в очередях.');
    assert.deepEqual(await english(page), []);
    await page.getByText('Подробно, по-английски').click();
    assert.deepEqual(await english(page), [
      'bitrix24 has it as 8017: open. Whether the worker follows it was not found out.',
    ]);
    await axe(page, 'task in Russian');
    await shot(page, 'task-russian');
    await page.getByRole('button', { name: 'English' }).click();
    await text('It follows it until it is finished.');
  });
  await withPage('busy', { at: SCREENS.task, before }, async ({ page, text }) => {
    await text('Что сделать');
    assert.deepEqual(await english(page), [
      'The worker follows it in bitrix24: open, for 3 days.',
      'bitrix24 has it as 8017: open. Whether the worker follows it was not found out.',
      'Look into the queues as well.',
    ]);
  });
});

test('a reconciliation looks, and repairs after a question', async () => {
  await withPage('busy', { at: SCREENS.reconcile }, async ({ page, mock, text }) => {
    await page.getByRole('button', { name: 'Проверить (ничего не меняя)' }).click();
    await text('была бы разблокирована');
    await shot(page, 'reconciled');
    await axe(page, 'reconciled');
    await page.setViewportSize({ width: 360, height: 800 });
    assert.deepEqual(await overflow(page), { by: 0, what: [] });
    await page.getByRole('button', { name: 'Исправить…' }).click();
    await page.getByRole('button', { name: 'Исправить', exact: true }).click();
    await text('Исправлено: 2, из них уже в порядке: 1');
    assert.equal(
      mock.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/reconciliations')).length,
      2,
    );
  });
});

test('the log level is set for a while, and a new event appears', async () => {
  await withPage('busy', { at: SCREENS.events }, async ({ page, mock, text }) => {
    await text('sweep asked for');
    mock.world.events.push({ ...mock.world.events[0], number: 6, text: 'log level DEBUG for 600 s, again' });
    mock.world.status.last_event = 6;
    await page.getByRole('button', { name: 'Применить' }).click();
    await text('В журнале DEBUG на 10 мин.');
    await text('log level DEBUG for 600 s, again');
  });
});

test('one parked message is shown whole', async () => {
  await withPage('busy', { at: `#/parked/${encodeURIComponent(parkedEntry(1).id)}` }, async ({ page, text }) => {
    await text('bitrix_create_task');
    await text('12345678901234567890');
    await shot(page, 'entry');
    await axe(page, 'entry');
  });
});

// ---- What goes wrong

test('a worker that goes away is noticed, and the page recovers by itself', async () => {
  await withPage('busy', {}, async ({ page, mock, text }) => {
    await page.clock.install();
    await page.reload();
    await settled(page);
    await mock.stop();
    await page.clock.runFor(POLL_MS + 100);
    await text('Воркер не отвечает с');
    await text('bitrix24 ждёт');
    await shot(page, 'away');
    await axe(page, 'away');
    await page.clock.runFor(120_000);
    await mock.start();
    await page.clock.runFor(POLL_MS + 100);
    await text('Воркер снова отвечает');
    assert.equal(await page.locator('.away').count(), 0);
  });
});

test('it asks every 5 seconds with the ETag, not while it is hidden, and at once when it is seen again', async () => {
  await withPage('busy', {}, async ({ page, mock }) => {
    await page.clock.install();
    await page.reload();
    await settled(page);
    const asked = () => mock.requests.filter(({ path }) => path === '/api/v1/status').length;
    const waitFor = async (count) => {
      const deadline = Date.now() + 5000;
      while (asked() < count) {
        assert.ok(Date.now() < deadline, `asked ${asked()} times, not ${count}`);
        await page.evaluate(() => 0);
      }
    };
    const before = asked();
    const unchanged = page.waitForResponse((response) => response.status() === 304);
    await page.clock.runFor(POLL_MS + 100);
    await unchanged;
    assert.equal(asked(), before + 1);
    const hide = (hidden) =>
      page.evaluate((value) => {
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
        document.dispatchEvent(new Event('visibilitychange'));
      }, hidden);
    await hide(true);
    await page.clock.runFor(60_000);
    assert.equal(asked(), before + 1);
    await hide(false);
    await waitFor(before + 2);
  });
});

test('10,000 parked messages: the first list comes, and nothing freezes', async () => {
  await withPage('crowded', {}, async ({ page, text }) => {
    await settled(page);
    await page.evaluate(() => {
      window.longest = 0;
      new PerformanceObserver((list) =>
        list.getEntries().forEach((each) => {
          window.longest = Math.max(window.longest, each.duration);
        }),
      ).observe({ entryTypes: ['longtask'] });
    });
    await go(page, '#/');
    const started = Date.now();
    await page.getByRole('link', { name: 'Отложенные', exact: true }).click();
    await page.locator('section[data-key=list] [aria-busy] tbody tr').first().waitFor();
    // A figure for people: how fast the worker is, the benchmarks say.
    console.log(`    the first list of 10,000 took ${Date.now() - started} ms`);
    await text(/50 из 10.000/);
    await page.getByRole('button', { name: 'Показать ещё' }).click();
    await text(/100 из 10.000/);
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Выгрузить в JSON Lines' }).click();
    const lines = readFileSync(await (await download).path(), 'utf8')
      .trim()
      .split('\n');
    assert.equal(lines.length, 10_000);
    assert.equal(JSON.parse(lines[9999]).id, parkedEntry(9999).id);
    const longest = await page.evaluate(() => window.longest);
    console.log(`    the longest task took ${Math.round(longest)} ms`);
    assert.ok(longest < 5000, `the page froze for ${longest} ms`);
    await shot(page, 'crowded');
  });
});

test('hostile text is shown as text, and turns nothing around it', async () => {
  await withPage('hostile', {}, async ({ page, text }) => {
    await settled(page);
    for (const [name, hash] of [
      ...Object.entries(SCREENS),
      ['hash', '#/tasks/%ff<img src=x onerror=alert(9)>'],
      ['query', `#/search?q=${encodeURIComponent(HOSTILE[0])}`],
    ]) {
      await page.evaluate((to) => {
        location.hash = to;
      }, hash);
      await settled(page);
      for (const width of [1280, 360]) {
        await page.setViewportSize({ width, height: 800 });
        assert.deepEqual(await overflow(page), { by: 0, what: [] }, `${name} ${width}`);
      }
      if (name !== 'query') await shot(page, `hostile-${name}`);
      assert.equal(
        await page
          .locator('img, script:not([src="/app.js"]), iframe, [onerror], [onload], a[href^=javascript i]')
          .count(),
        0,
        name,
      );
      await axe(page, `hostile ${name}`);
    }
    await go(page, SCREENS.parked);
    await text('<img src=x onerror="alert(1)">');
    await text('abc[U+202E]gnp.exe');
    // Its id is hostile too: the way to one entry and back.
    await page.locator('section[data-key=list] [aria-busy] tbody a').first().click();
    await text('Сообщение целиком');
    assert.equal(await page.evaluate(() => document.body.innerText.includes('\u202e')), false);
  });
});

test('a slow answer for a screen that was left changes nothing', async () => {
  await withPage('busy', {}, async ({ page, mock, text }) => {
    await settled(page);
    mock.delay = 500;
    await page.evaluate(() => {
      location.hash = '#/tasks';
    });
    await page.evaluate(() => {
      location.hash = '#/events';
    });
    await text('sweep asked for');
    await page.waitForResponse((response) => response.url().includes('/api/v1/tasks'));
    assert.equal(await page.locator('main section[data-key=tasks]').count(), 0);
  });
});
