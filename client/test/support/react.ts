/** Components under test: rendered into a page of their own, unmounted with the test, without `act`: time passes as it does. */

import { createElement, type FunctionComponent, type ReactElement, type ReactNode, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { onTestFinished } from 'vitest';
import { startServer, type TestServer, type TestServerOptions } from '../../../ts/test/support/server.js';
import { WSEProvider, type WSEProviderProps } from '../../src/react/index.js';
import { container } from './dom.js';

/** Frames by hand: nothing is drawn before `draw()`. */
export class Frames {
  readonly #waiting: (() => void)[] = [];
  drawn = 0;
  readonly schedule = (fn: () => void): void => void this.#waiting.push(fn);

  draw(): void {
    this.drawn += 1;
    for (const fn of this.#waiting.splice(0)) fn();
  }
}

export interface Rendered {
  readonly element: Element;
  /** What the page says. */
  text(): string;
  render(node: ReactNode): void;
  unmount(): void;
}

/** Renders, in StrictMode unless `strict` is false. */
export function render(node: ReactNode, strict = true): Rendered {
  const element = container();
  const root = createRoot(element);
  const wrap = (inner: ReactNode): ReactElement =>
    strict ? createElement(StrictMode, null, inner) : createElement('div', null, inner);
  root.render(wrap(node));
  onTestFinished(() => root.unmount());
  return {
    element,
    text: () => (element as unknown as { textContent: string }).textContent,
    render: (next) => root.render(wrap(next)),
    unmount: () => root.unmount(),
  };
}

/** A component that shows what a hook returns, and keeps every result it was drawn with. */
export function show<T>(hook: () => T): { readonly component: FunctionComponent; readonly results: T[]; last(): T } {
  const results: T[] = [];
  return {
    component: () => {
      const result = hook();
      results.push(result);
      return createElement('p', null, JSON.stringify(result) ?? 'nothing');
    },
    results,
    last: () => results.at(-1) as T,
  };
}

/** A server that recovers, and a provider's properties for it. */
export async function serve(options: TestServerOptions = {}): Promise<TestServer & { readonly url: string }> {
  const server = await startServer({ subscriptions: 'acl', recovery: true, ...options });
  return Object.assign(server, { url: `ws://127.0.0.1:${server.port}/wse` });
}

/** A provider that leaves soon, around components. */
export const provide = (props: WSEProviderProps, ...children: FunctionComponent[]): ReactElement =>
  createElement(
    WSEProvider,
    { linger: 50, heartbeat: 200, ...props },
    ...children.map((component, key) => createElement(component, { key })),
  );
