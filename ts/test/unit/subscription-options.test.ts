/** The options `authorize` and `snapshots`: what is accepted, and what is refused with which path. */

import { describe, expect, it } from 'vitest';
import { WSEConfigError, type WSEServerOptions } from '../../src/index.js';
import { resolveAll } from '../../src/options/resolve.js';

const get = (): null => null;
const snapshots = { topics: 'a*', get };
const resolve = (options: object): ReturnType<typeof resolveAll> =>
  resolveAll({ subscriptions: 'acl', ...options } as WSEServerOptions);

function pathOf(options: object): string {
  try {
    resolve(options);
  } catch (error) {
    if (error instanceof WSEConfigError) return error.path;
    throw error;
  }
  throw new Error('accepted');
}

describe('the questions about subscriptions', () => {
  it('have defaults', () => {
    const { native, answering } = resolve({ authorize: () => true, snapshots: { ...snapshots, topics: ['a', 'b*'] } });
    expect(native.authorize).toEqual({ timeout: 5, maxWaiting: 1024 });
    expect(native.snapshots).toEqual({ provider: { topics: ['a', 'b*'], timeout: 5, maxWaiting: 1024 } });
    expect(answering).toEqual({ maxSnapshotBytes: 2 ** 20 });
    const last = resolve({ snapshots: 'last', recovery: true }).native;
    expect([last.snapshots, last.recovery?.lastValues]).toEqual([{ provider: null }, ['*']]);
    expect(resolve({ authorize: null, snapshots: null }).native).toMatchObject({ authorize: null, snapshots: null });
    const short = resolve({ authorize: () => true, snapshots, idleTimeout: 4, pingInterval: 1 }).native;
    expect([short.authorize?.timeout, short.snapshots?.provider?.timeout]).toEqual([2, 2]);
  });

  it.each<[string, object]>([
    ['authorize', { subscriptions: 'app', authorize: () => true }],
    ['snapshots', { subscriptions: 'app', snapshots }],
    ['snapshots', { subscriptions: undefined, snapshots: 'last', recovery: true }],
    ['snapshots', { snapshots: 'last' }],
    ['authorize', { authorize: 'yes' }],
    ['authorizeTimeout', { authorizeTimeout: 1 }],
    ['maxAuthorizing', { maxAuthorizing: 1 }],
    ['authorizeTimeout', { authorize: () => true, authorizeTimeout: 60 }],
    ['authorizeTimeout', { authorize: () => true, authorizeTimeout: 0 }],
    ['authorizeTimeout', { authorize: () => true, authorizeTimeout: 5000 }],
    ['maxAuthorizing', { authorize: () => true, maxAuthorizing: 0 }],
    ['snapshots', { snapshots: 'first' }],
    ['snapshots', { snapshots: 7 }],
    ['snapshots', { snapshots: [] }],
    ['snapshots.topics', { snapshots: { get } }],
    ['snapshots.topics', { snapshots: { get, topics: [] } }],
    ['snapshots.topics', { snapshots: { get, topics: '' } }],
    ['snapshots.topics', { snapshots: { get, topics: 7 } }],
    ['snapshots.topics', { snapshots: { get, topics: Array.from({ length: 1025 }, () => 'a') } }],
    ['snapshots.topics[1]', { snapshots: { get, topics: ['a', 'x'.repeat(1025)] } }],
    ['snapshots.topics[0]', { snapshots: { get, topics: [7] } }],
    ['snapshots.get', { snapshots: { topics: 'a' } }],
    ['snapshots.get', { snapshots: { topics: 'a', get: {} } }],
    ['snapshots.timeout', { snapshots: { ...snapshots, timeout: 60 } }],
    ['snapshots.maxWaiting', { snapshots: { ...snapshots, maxWaiting: 1.5 } }],
    ['snapshots.maxSnapshotBytes', { snapshots: { ...snapshots, maxSnapshotBytes: 0 } }],
    ['snapshots.maxsize', { snapshots: { ...snapshots, maxsize: 1 } }],
  ])('refuse %s: %o', (path, options) => {
    expect(pathOf(options)).toBe(path);
  });
});
