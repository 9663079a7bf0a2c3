import { describe, expect, it } from 'vitest';
import { createQuality, type QualityMeter } from '../../src/core/quality.js';
import { seeded } from '../support/random.js';
import { TestClock } from '../support/time.js';

function setup(): { clock: TestClock; meter: QualityMeter; answer(...rtts: number[]): void } {
  const clock = new TestClock();
  const meter = createQuality({ now: clock.now });
  const answer = (...rtts: number[]) => {
    for (const rtt of rtts) meter.sample(rtt);
  };
  return { clock, meter, answer };
}

function steady(rtt: number, times = 100): number[] {
  return new Array<number>(times).fill(rtt);
}

/** Round trips around `mean` whose jitter settles at `jitter`: each differs from the one before by that much. */
function unsteady(mean: number, jitter: number, times = 100): number[] {
  return Array.from({ length: times }, (_, i) => mean + (i % 2 === 0 ? -jitter / 2 : jitter / 2));
}

describe('grades', () => {
  it('is unknown without pings', () => {
    expect(setup().meter.read()).toEqual({ quality: 'unknown', latency: null, jitter: null, loss: 0, suggestions: [] });
  });

  it.each([
    [1, 'excellent'],
    [50, 'excellent'],
    [50.1, 'good'],
    [150, 'good'],
    [150.1, 'fair'],
    [300, 'fair'],
    [300.1, 'poor'],
    [20_000, 'poor'],
  ] as const)('latency %d ms: %s', (rtt, quality) => {
    const { meter, answer } = setup();
    answer(...steady(rtt));
    expect(meter.read()).toMatchObject({ quality, jitter: 0, loss: 0 });
    expect(meter.read().latency).toBeCloseTo(rtt, 6);
  });

  it.each([
    [24, 'excellent'],
    [27, 'good'],
    [49, 'good'],
    [55, 'fair'],
    [99, 'fair'],
    [115, 'poor'],
  ] as const)('jitter %d ms: %s', (jitter, quality) => {
    const { meter, answer } = setup();
    // Latency alone would be excellent, or good for the last.
    answer(...unsteady(Math.max(50, jitter / 2), jitter));
    expect(meter.read().quality).toBe(quality);
  });

  it.each([
    [0, 'excellent'],
    [1, 'good'],
    [2, 'fair'],
    [3, 'fair'],
    [4, 'poor'],
    [100, 'poor'],
  ] as const)('%d of 100 pings lost: %s', (lost, quality) => {
    const { meter, answer } = setup();
    for (let i = 0; i < lost; i++) meter.lost();
    answer(...steady(10, 100 - lost));
    expect(meter.read()).toMatchObject({ quality, loss: lost });
  });

  it('is the worst of the three', () => {
    const { meter, answer } = setup();
    answer(...steady(10, 96));
    for (let i = 0; i < 4; i++) meter.lost();
    expect(meter.read()).toMatchObject({ quality: 'poor', latency: 10, jitter: 0, loss: 4 });
  });

  it('is poor where nothing at all was answered', () => {
    const { meter } = setup();
    meter.lost();
    expect(meter.read()).toMatchObject({ quality: 'poor', latency: null, jitter: null, loss: 100 });
  });
});

describe('jitter', () => {
  it('is smoothed by a sixteenth of each difference', () => {
    const { meter, answer } = setup();
    answer(100);
    expect(meter.read().jitter).toBeNull();
    answer(116);
    expect(meter.read().jitter).toBe(1);
    answer(100);
    expect(meter.read().jitter).toBe(1 + 15 / 16);
  });

  it('settles at what differs from ping to ping', () => {
    const { meter, answer } = setup();
    answer(...unsteady(100, 40));
    expect(meter.read().jitter).toBeGreaterThan(39.5);
    expect(meter.read().jitter).toBeLessThanOrEqual(40);
  });
});

describe('the window', () => {
  it('holds 100 pings: losses of before do not count', () => {
    const { meter, answer } = setup();
    for (let i = 0; i < 50; i++) meter.lost();
    answer(...steady(10, 50));
    expect(meter.read().loss).toBe(50);
    answer(...steady(10, 49));
    expect(meter.read().loss).toBe(1);
    answer(10);
    expect(meter.read()).toMatchObject({ loss: 0, quality: 'excellent' });
  });

  it('follows latency within ten answers', () => {
    const { meter, answer } = setup();
    answer(...steady(10, 90), ...steady(400, 10));
    expect(meter.read().latency).toBe(400);
  });

  it('forgets what is older than half an hour', () => {
    const { clock, meter, answer } = setup();
    answer(400, 400);
    meter.lost();
    clock.pass(1_800_000);
    expect(meter.read().quality).toBe('poor');
    clock.pass(1);
    expect(meter.read().quality).toBe('unknown');
    answer(10);
    expect(meter.read()).toMatchObject({ quality: 'excellent', latency: 10, loss: 0 });
  });

  it('ignores what is no round trip', () => {
    const { meter, answer } = setup();
    answer(Number.NaN, -1, Infinity);
    expect(meter.read().quality).toBe('unknown');
    answer(0);
    expect(meter.read()).toMatchObject({ quality: 'excellent', latency: 0 });
  });

  it('stays within bounds, whatever comes', () => {
    const random = seeded(17);
    const { clock, meter } = setup();
    for (let i = 0; i < 2_000; i++) {
      if (random() < 0.1) meter.lost();
      else meter.sample(random() * 500);
      clock.pass(random() * 60_000);
      const { latency, jitter, loss } = meter.read();
      if (latency !== null && (latency < 0 || latency > 500)) expect.fail(`latency ${latency}`);
      if (jitter !== null && (jitter < 0 || jitter > 500)) expect.fail(`jitter ${jitter}`);
      if (loss < 0 || loss > 100) expect.fail(`loss ${loss}`);
    }
  });
});

describe('suggestions', () => {
  it('has none where the network is good', () => {
    const { meter, answer } = setup();
    answer(...unsteady(140, 40));
    expect(meter.read()).toMatchObject({ quality: 'good', suggestions: [] });
  });

  it('names each thing that is wrong, and nothing else', () => {
    const only = (fill: (meter: QualityMeter) => void) => {
      const { meter } = setup();
      fill(meter);
      return meter.read().suggestions;
    };
    const latency = only((meter) => steady(200).forEach((rtt) => meter.sample(rtt)));
    const jitter = only((meter) => unsteady(80, 80).forEach((rtt) => meter.sample(rtt)));
    const loss = only((meter) => {
      steady(10).forEach((rtt) => meter.sample(rtt));
      for (let i = 0; i < 5; i++) meter.lost();
    });
    expect(latency).toEqual([expect.stringContaining('latency')]);
    expect(jitter).toEqual([expect.stringContaining('Unsteady')]);
    expect(loss).toEqual([expect.stringContaining('lost')]);
    const all = only((meter) => {
      unsteady(300, 200).forEach((rtt) => meter.sample(rtt));
      for (let i = 0; i < 5; i++) meter.lost();
    });
    expect(all).toEqual([...latency, ...jitter, ...loss]);
  });
});
