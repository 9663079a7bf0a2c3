import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type PageTarget, watchPage, watchSleep } from '../../src/core/lifecycle.js';
import { TestClock } from '../support/time.js';

class Doc extends EventTarget {
  visibilityState = 'visible';
}

/** A window: real events, and nothing of a browser besides. */
class Page extends EventTarget {
  readonly document = new Doc();
  readonly navigator = { onLine: true };

  show(state: 'visible' | 'hidden'): void {
    this.document.visibilityState = state;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }

  transition(type: 'pageshow' | 'pagehide', persisted: boolean): void {
    this.dispatchEvent(Object.assign(new Event(type), { persisted }));
  }
}

const TYPES = ['visibilitychange', 'freeze', 'resume', 'pagehide', 'pageshow', 'online', 'offline'];

/** How many listeners there are for each type of event of a page. */
function listeners(...targets: EventTarget[]): number[] {
  return TYPES.map((type) => targets.flatMap((target) => getEventListeners(target, type)).length);
}

function watch(page = new Page()): { page: Page; told: string[]; stop: () => void } {
  const told: string[] = [];
  const stop = watchPage(
    {
      visible: () => told.push('visible'),
      online: () => told.push('online'),
      offline: () => told.push('offline'),
      frozen: () => told.push('frozen'),
      restored: () => told.push('restored'),
    },
    page as PageTarget,
  );
  return { page, told, stop };
}

describe('a page', () => {
  it('is visible again', () => {
    const { page, told } = watch();
    page.show('hidden');
    page.show('visible');
    expect(told).toEqual(['visible']);
  });

  it('is online and offline', () => {
    const { page, told } = watch();
    page.dispatchEvent(new Event('offline'));
    page.dispatchEvent(new Event('online'));
    expect(told).toEqual(['offline', 'online']);
  });

  it('is frozen and resumes', () => {
    const { page, told } = watch();
    page.document.dispatchEvent(new Event('freeze'));
    page.document.dispatchEvent(new Event('resume'));
    expect(told).toEqual(['frozen', 'restored']);
  });

  it('goes into the back/forward cache and comes back', () => {
    const { page, told } = watch();
    page.transition('pagehide', true);
    page.transition('pageshow', true);
    expect(told).toEqual(['frozen', 'restored']);
  });

  it('is told once where a browser sends both pairs', () => {
    const { page, told } = watch();
    for (let i = 0; i < 2; i++) {
      page.transition('pagehide', true);
      page.show('hidden');
      page.document.dispatchEvent(new Event('freeze'));
      page.document.dispatchEvent(new Event('resume'));
      page.transition('pageshow', true);
      page.show('visible');
    }
    const once = ['frozen', 'restored', 'visible'];
    expect(told).toEqual([...once, ...once]);
  });

  it('is not restored by its first pageshow', () => {
    const { page, told } = watch();
    page.transition('pageshow', false);
    page.transition('pageshow', true);
    expect(told).toEqual([]);
  });

  it('is frozen, too, where it is left for good', () => {
    const { page, told } = watch();
    page.transition('pagehide', false);
    expect(told).toEqual(['frozen']);
  });

  it('tells at once what holds from the start', () => {
    const page = new Page();
    page.navigator.onLine = false;
    expect(watch(page).told).toEqual(['offline']);
    expect(watch().told).toEqual([]);
  });

  it('has no listener left afterwards, and tells nothing', () => {
    const { page, told, stop } = watch();
    expect(listeners(page, page.document)).toEqual([1, 1, 1, 1, 1, 1, 1]);
    stop();
    expect(listeners(page, page.document)).toEqual([0, 0, 0, 0, 0, 0, 0]);
    page.show('hidden');
    page.document.dispatchEvent(new Event('freeze'));
    page.document.dispatchEvent(new Event('resume'));
    page.transition('pagehide', true);
    page.transition('pageshow', true);
    page.dispatchEvent(new Event('offline'));
    page.dispatchEvent(new Event('online'));
    expect(told).toEqual([]);
  });

  it('needs no handler', () => {
    const page = new Page();
    const stop = watchPage({}, page as PageTarget);
    page.show('hidden');
    page.transition('pagehide', true);
    page.transition('pageshow', true);
    page.dispatchEvent(new Event('offline'));
    page.dispatchEvent(new Event('online'));
    stop();
    expect(listeners(page, page.document)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  it('is none in Node, and none in a worker', () => {
    watchPage({})();
    const worker = new EventTarget();
    watchPage({ online: () => expect.fail('told') }, worker as Partial<PageTarget>)();
    worker.dispatchEvent(new Event('online'));
    expect(listeners(worker)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });
});

describe('sleep', () => {
  function setup(): { clock: TestClock; slept: number[]; stop: () => void } {
    const clock = new TestClock();
    const slept: number[] = [];
    return { clock, slept, stop: watchSleep(clock, (ms) => slept.push(ms), clock.now) };
  }

  it('is told with its length, once', () => {
    const { clock, slept } = setup();
    clock.pass(25_000);
    clock.sleep(8 * 3_600_000);
    clock.pass(120_000);
    expect(slept).toEqual([8 * 3_600_000 - 5_000]);
  });

  it('is not what a busy machine does: a timer of 10 s may be 5 s late', () => {
    const { clock, slept } = setup();
    for (const late of [0, 1, 4_999, 5_000, 5_001, 5_000]) {
      clock.pass(9_999);
      clock.sleep(1 + late);
      clock.pass(0);
    }
    expect(slept).toEqual([5_001]);
  });

  it('is not a clock that is set back', () => {
    const timers = new TestClock();
    let day = 1e12;
    const slept: number[] = [];
    watchSleep(
      timers,
      (ms) => slept.push(ms),
      () => day,
    );
    day -= 86_400_000;
    timers.pass(10_000);
    day += 10_000;
    timers.pass(10_000);
    expect(slept).toEqual([]);
  });

  it('leaves no timer', () => {
    const { clock, stop } = setup();
    clock.pass(35_000);
    expect(clock.timers).toBe(1);
    stop();
    expect(clock.timers).toBe(0);
  });
});
