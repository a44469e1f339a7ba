// A headless Chromium that notes what a page must not do: errors at the console, dialogs, requests to elsewhere.

import { createRequire } from 'node:module';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';

const modules = createRequire(`${process.env.PAGE_NODE_MODULES}/`);
const { chromium } = modules('playwright-core');
const SHOTS = process.env.PAGE_SHOTS;

/// Chromium asks hosts of its maker's in the background; here nobody answers them.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export class Browser {
  async start() {
    this.profile = mkdtempSync(join(tmpdir(), 'page-'));
    this.chromium = await chromium.launchPersistentContext(this.profile, {
      executablePath: process.env.PAGE_CHROMIUM,
      headless: true,
      args: FLAGS,
      viewport: null,
    });
    this.browser = this.chromium.browser();
  }

  async stop() {
    await this.chromium?.close();
    rmSync(this.profile, { recursive: true, force: true });
  }
}

/// A page at `address`, and what it did wrong.
export async function visit(
  browser,
  address,
  { width = 1280, height = 900, locale = 'ru-RU', dark = false, token } = {},
) {
  const context = await browser.newContext({
    viewport: { width, height },
    locale,
    colorScheme: dark ? 'dark' : 'light',
    reducedMotion: 'reduce',
    acceptDownloads: true,
  });
  const page = await context.newPage();
  const faults = [];
  const origin = new URL(address).origin;
  page.on('console', (message) => {
    // The browser itself logs each answer that says no, and each that does not come.
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
      faults.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => faults.push(`error: ${error.stack ?? error}`));
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith('blob:'))
      faults.push(`elsewhere: ${request.url()}`);
  });
  if (token) await page.addInitScript((text) => sessionStorage.setItem('token', text), token);
  await page.goto(address);
  return { page, context, faults };
}

export async function shot(page, name) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}

/// By how many pixels the page is wider than its window, and what is.
export async function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll('body *')].filter(
      (each) => !each.closest('.unseen') && each.getBoundingClientRect().right > width + 1,
    );
    return {
      by: document.documentElement.scrollWidth - width,
      what: wide.slice(0, 5).map((each) => `${each.tagName}.${each.className} ${each.textContent.slice(0, 40)}`),
    };
  });
}
