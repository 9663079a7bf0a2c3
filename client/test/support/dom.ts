/**
 * A page without a browser, for React: its window and its events as globals, and a WebSocket. Import it before `react-dom`, which looks
 * for them once.
 */

import { Window } from 'happy-dom';
import { WebSocket } from 'ws';

const page = new Window({ url: 'http://localhost/' });
const bound = ['addEventListener', 'removeEventListener', 'dispatchEvent'] as const;
Object.assign(globalThis, {
  window: page,
  document: page.document,
  CustomEvent: page.CustomEvent,
  // A browser's own, where there is a document.
  WebSocket,
  ...Object.fromEntries(bound.map((name) => [name, page[name].bind(page)])),
});
// Below Node 21 there is none.
if (!('navigator' in globalThis)) Object.assign(globalThis, { navigator: page.navigator });

/** Takes the page away, as on a server, while `fn` runs. */
export function withoutPage<T>(fn: () => T): T {
  const { window, document } = globalThis as { window?: unknown; document?: unknown };
  Reflect.deleteProperty(globalThis, 'window');
  Reflect.deleteProperty(globalThis, 'document');
  try {
    return fn();
  } finally {
    Object.assign(globalThis, { window, document });
  }
}

/** An element of the page, empty, or with what a server rendered. */
export function container(html = ''): Element {
  const element = page.document.createElement('div');
  element.innerHTML = html;
  page.document.body.append(element);
  return element as unknown as Element;
}
