// What may be given as `onUpgrade` and `jwt.keys`, and what must not.

import { expectTypeOf, test } from 'vitest';
import type { JwtKeys, OnUpgrade, UpgradeAnswer, UpgradeRequest } from '../../src/index.js';

test('a handler answers nothing, terms or a refusal, at once or later', () => {
  const handlers: OnUpgrade[] = [
    () => {},
    async () => {},
    () => null,
    () => ({}),
    async ({ cookies, query }) => (cookies['sid'] === query.get('sid') ? undefined : { status: 403 }),
    async ({ user, claims, signal }) => {
      signal.throwIfAborted();
      if (user === null) return { status: 401, headers: { 'set-cookie': ['a=1'], 'retry-after': 5 }, body: 'no' };
      return { user, data: { role: claims?.['role'] ?? null }, topics: ['a'], acl: { deny: ['*'] }, protocol: 'chat.v1' };
    },
  ];
  expectTypeOf(handlers).toBeArray();
  expectTypeOf<UpgradeRequest['headers']>().toEqualTypeOf<Readonly<Record<string, string | undefined>>>();
  expectTypeOf<{ status: string }>().not.toExtend<UpgradeAnswer>();
  expectTypeOf<number>().not.toExtend<UpgradeAnswer>();
});

test('keys are text, bytes or null, at once or later', () => {
  const finders: JwtKeys[] = [
    () => 'pem',
    async () => new Uint8Array(32),
    () => null,
    async (kid) => (kid === null ? null : kid),
  ];
  expectTypeOf(finders).toBeArray();
  expectTypeOf<() => number>().not.toExtend<JwtKeys>();
});
