import { describe, expect, it } from 'vitest';
import { createEndpoints, type EndpointStats, type EndpointStrategy, type Endpoints } from '../../src/core/endpoints.js';
import { seeded } from '../support/random.js';
import { TestClock } from '../support/time.js';

const URLS = ['wss://a', 'wss://b', 'wss://c'];
const STRATEGIES: EndpointStrategy[] = ['weighted-random', 'least-connections', 'round-robin'];

function setup(
  strategy: EndpointStrategy,
  urls = URLS,
  seed = 1,
): { clock: TestClock; pool: Endpoints; of(url: string): EndpointStats } {
  const clock = new TestClock();
  const pool = createEndpoints(urls, { strategy, random: seeded(seed), now: clock.now });
  const of = (url: string) => pool.stats().find((stats) => stats.url === url) as EndpointStats;
  return { clock, pool, of };
}

function picks(pool: Endpoints, times: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < times; i++) {
    const url = pool.pick();
    counts.set(url, (counts.get(url) ?? 0) + 1);
  }
  return counts;
}

describe.each(STRATEGIES)('%s', (strategy) => {
  it('does not pick the one that failed while another one is healthy', () => {
    const { pool } = setup(strategy);
    for (let i = 0; i < 2; i++) {
      const failed = pool.pick();
      pool.failed(failed);
      expect(picks(pool, 50).has(failed)).toBe(false);
    }
  });

  it('picks it again once its failure has faded, and not before', () => {
    const { clock, pool } = setup(strategy);
    pool.failed('wss://b');
    clock.pass(29_999);
    expect(picks(pool, 100).has('wss://b')).toBe(false);
    clock.pass(1);
    expect(picks(pool, 100).get('wss://b')).toBeGreaterThan(0);
  });

  it('goes around where all of them fail, and finds the one that comes back', () => {
    const { clock, pool } = setup(strategy);
    const seen: string[] = [];
    for (let i = 0; i < 30; i++) {
      const url = pool.pick();
      seen.push(url);
      pool.failed(url);
      clock.pass(500);
    }
    for (let i = 3; i < seen.length; i++) expect(new Set(seen.slice(i - 3, i)).size).toBe(3);
    let tries = 1;
    for (; pool.pick() !== 'wss://b'; tries++) {
      pool.failed(pool.stats().reduce((last, stats) => (stats.score > last.score ? stats : last)).url);
      clock.pass(500);
    }
    expect(tries).toBeLessThanOrEqual(3);
    pool.succeeded('wss://b', 10);
    clock.pass(20_000);
    expect(picks(pool, 20)).toEqual(new Map([['wss://b', 20]]));
  });

  it('goes around where all of them fail at the same moment too', () => {
    const { pool } = setup(strategy);
    const counts = new Map<string, number>();
    for (let i = 0; i < 30; i++) {
      const url = pool.pick();
      counts.set(url, (counts.get(url) ?? 0) + 1);
      pool.failed(url);
    }
    for (const url of URLS) expect(counts.get(url)).toBe(10);
  });

  it('prefers the one whose failures have faded most, however often it was tried', () => {
    const { clock, pool } = setup(strategy);
    picks(pool, 7);
    const tried = pool.stats().reduce((most, stats) => (stats.attempts > most.attempts ? stats : most)).url;
    pool.failed(tried);
    clock.pass(10);
    for (const url of URLS) if (url !== tried) pool.failed(url);
    expect(pool.pick()).toBe(tried);
  });

  it('picks the only one there is, however it fares', () => {
    const { pool } = setup(strategy, ['wss://a']);
    for (let i = 0; i < 20; i++) {
      expect(pool.pick()).toBe('wss://a');
      pool.failed('wss://a');
    }
  });

  it('counts what happens', () => {
    const { clock, pool, of } = setup(strategy);
    const random = seeded(99);
    const expected = new Map(URLS.map((url) => [url, { attempts: 0, connections: 0, active: 0, failures: 0 }]));
    for (let i = 0; i < 500; i++) {
      const url = pool.pick();
      const counts = expected.get(url) as { attempts: number; connections: number; active: number; failures: number };
      counts.attempts++;
      if (random() < 0.3) {
        pool.failed(url);
        counts.failures++;
      } else {
        pool.succeeded(url, 20);
        counts.connections++;
        counts.active++;
        if (random() < 0.8) {
          pool.closed(url);
          counts.active--;
        }
      }
      clock.pass(random() * 5_000);
    }
    for (const url of URLS) expect(of(url)).toMatchObject(expected.get(url) as object);
    expect(pool.stats().reduce((sum, stats) => sum + stats.attempts, 0)).toBe(500);
  });
});

describe('how one is picked', () => {
  it('weighted-random: in proportion to the scores', () => {
    const { pool, of } = setup('weighted-random');
    // 45 points of latency: 55 against 100 and 100.
    pool.succeeded('wss://c', 10_000);
    expect(of('wss://c').score).toBe(55);
    const counts = picks(pool, 10_000);
    expect(Math.abs((counts.get('wss://a') as number) - 10_000 * (100 / 255))).toBeLessThan(200);
    expect(Math.abs((counts.get('wss://b') as number) - 10_000 * (100 / 255))).toBeLessThan(200);
    expect(Math.abs((counts.get('wss://c') as number) - 10_000 * (55 / 255))).toBeLessThan(200);
  });

  it('least-connections: the fewest open, then the fewest made', () => {
    const { pool } = setup('least-connections');
    const open = () => {
      const url = pool.pick();
      pool.succeeded(url, 10);
      return url;
    };
    expect([open(), open(), open()].sort()).toEqual(URLS);
    pool.closed('wss://b');
    expect(open()).toBe('wss://b');
    for (let i = 0; i < 5; i++) {
      pool.closed('wss://b');
      expect(open()).toBe('wss://b');
    }
    for (const url of URLS) pool.closed(url);
    // b was connected to most often: the others are first.
    expect([open(), open(), open()][2]).toBe('wss://b');
  });

  it('round-robin: the next of the list, past the ones that failed', () => {
    const { pool } = setup('round-robin');
    expect([pool.pick(), pool.pick(), pool.pick(), pool.pick()]).toEqual(['wss://a', 'wss://b', 'wss://c', 'wss://a']);
    pool.failed('wss://b');
    expect([pool.pick(), pool.pick(), pool.pick()]).toEqual(['wss://c', 'wss://a', 'wss://c']);
  });

  it('takes a URL that is given twice once', () => {
    const { pool } = setup('round-robin', ['wss://a', 'wss://b', 'wss://a']);
    expect([pool.pick(), pool.pick(), pool.pick()]).toEqual(['wss://a', 'wss://b', 'wss://a']);
    expect(pool.stats()).toHaveLength(2);
  });
});

describe('the score', () => {
  it('is 100 at first, 30 less for each failure and never below 10', () => {
    const { pool, of } = setup('round-robin');
    expect(of('wss://a')).toEqual({
      url: 'wss://a',
      score: 100,
      healthy: true,
      attempts: 0,
      connections: 0,
      active: 0,
      failures: 0,
      latency: null,
    });
    const scores: number[] = [];
    for (let i = 0; i < 50; i++) {
      pool.failed('wss://a');
      scores.push(of('wss://a').score);
    }
    expect(scores.slice(0, 5)).toEqual([70, 40, 10, 10, 10]);
    expect(of('wss://a').healthy).toBe(false);
    pool.succeeded('wss://a', 1e9);
    expect(of('wss://a').score).toBeGreaterThanOrEqual(10);
  });

  it('recovers by half every 30 s, within minutes from the worst', () => {
    const { clock, pool, of } = setup('round-robin');
    for (let i = 0; i < 50; i++) pool.failed('wss://a');
    clock.pass(30_000);
    expect(of('wss://a').score).toBe(55);
    clock.pass(30_000);
    expect(of('wss://a').score).toBe(77.5);
    expect(of('wss://a').healthy).toBe(false);
    clock.pass(20_000);
    expect(of('wss://a').healthy).toBe(true);
  });

  it('forgives three quarters at a success', () => {
    const { pool, of } = setup('round-robin');
    pool.failed('wss://a');
    pool.succeeded('wss://a', 0);
    expect(of('wss://a').score).toBe(92.5);
  });

  it('forgives most of it at a success, and not all to one that opens and cuts', () => {
    const { clock, pool, of } = setup('round-robin');
    for (let i = 0; i < 20; i++) {
      pool.succeeded('wss://a', 0);
      pool.failed('wss://a');
    }
    expect(of('wss://a').score).toBeLessThan(70);
    pool.succeeded('wss://a', 0);
    expect(of('wss://a').healthy).toBe(true);
    clock.pass(60_000);
    expect(of('wss://a').score).toBeGreaterThan(95);
  });

  it('follows latency as a moving mean', () => {
    const { pool, of } = setup('round-robin');
    pool.succeeded('wss://a', 100);
    expect(of('wss://a')).toMatchObject({ latency: 100, score: 95 });
    pool.succeeded('wss://a', 200);
    expect(of('wss://a').latency).toBeCloseTo(130);
    for (let i = 0; i < 100; i++) pool.succeeded('wss://a', 600);
    expect(of('wss://a').latency).toBeCloseTo(600);
    expect(of('wss://a').score).toBeCloseTo(70);
  });
});

it('does not count what it does not know, and no connection below none', () => {
  const { pool, of } = setup('round-robin');
  const before = pool.stats();
  pool.failed('wss://elsewhere');
  pool.succeeded('wss://elsewhere', 1);
  pool.closed('wss://elsewhere');
  pool.closed('wss://a');
  expect(pool.stats()).toEqual(before);
  expect(of('wss://a').active).toBe(0);
});

it('refuses to be a pool of nothing', () => {
  expect(() => createEndpoints([], { random: Math.random, now: () => 0 })).toThrow(RangeError);
});
