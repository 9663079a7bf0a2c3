/** The page of `page.test.ts`: two hundred components in StrictMode, and what they, the window and the screen did. */

import { createElement, type ReactElement, StrictMode, useState } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { useClient, useTopic, useWSE, WSEProvider } from '../../src/react/index.js';

/** What the test reads. */
export interface PageScope {
  readonly start: (url: string, components: number) => void;
  readonly counts: () => number[];
  readonly seen: { renders: number; frames: number; events: string[]; ticks: number; clients: Set<unknown> };
  readonly remount: () => void;
  readonly again: () => void;
  readonly stop: () => void;
}

interface Browser {
  readonly document: { getElementById(id: string): Parameters<typeof createRoot>[0] };
  requestAnimationFrame(fn: () => void): void;
}

const browser = globalThis as unknown as Browser;
const seen: PageScope['seen'] = { renders: 0, frames: 0, events: [], ticks: 0, clients: new Set() };
const last: number[] = [];
let root: Root | undefined;
let again = (): void => {};
let started: [url: string, components: number];

const Count = ({ index }: { index: number }): ReactElement => {
  const count = useTopic(`t${index % 10}`, (_, state) => state.count);
  const client = useClient();
  last[index] = count;
  if (index === 0) {
    seen.renders += 1;
    // Not while rendering: there may be none yet.
    setTimeout(() => seen.clients.add(client()));
  }
  return createElement('i', null, count);
};

const App = ({ components }: { components: number }): ReactElement => {
  const { isConnected } = useWSE();
  const [n, set] = useState(0);
  again = () => set(n + 1);
  const all = Array.from({ length: components }, (_, index) => createElement(Count, { index, key: index }));
  // Another key: all of them are unmounted and mounted.
  return createElement('main', { key: n, className: isConnected ? 'online' : '' }, ...all);
};

const Own = ({ url }: { url: string }): ReactElement =>
  createElement('b', null, String(useWSE({ url, topics: ['t0'], linger: 200 }).isConnected));

const mount = (): void => {
  const [url, components] = started;
  root = createRoot(browser.document.getElementById('root'));
  root.render(
    createElement(
      StrictMode,
      null,
      createElement(WSEProvider, { url, linger: 1_000, name: 'shown' }, createElement(App, { components })),
      createElement(Own, { url }),
    ),
  );
};

const frame = (): void => {
  seen.frames += 1;
  browser.requestAnimationFrame(frame);
};

const page = globalThis as unknown as EventTarget;
for (const name of ['connectionStateChange', 'subscriptionUpdate']) page.addEventListener(name, () => seen.events.push(name));
page.addEventListener('tick', () => {
  seen.ticks += 1;
});

const scope: PageScope = {
  start(url, components) {
    started = [url, components];
    frame();
    mount();
  },
  counts: () => last,
  seen,
  remount() {
    root?.unmount();
    mount();
  },
  again: () => again(),
  stop: () => root?.unmount(),
};
Object.assign(globalThis, { scope });
