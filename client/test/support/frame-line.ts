/**
 * Frame line: one direction of one connection of a fault proxy. It decides the fate of each frame and carries it out; sockets are
 * the proxy's.
 */

import { seeded } from './random.js';

/** `down`: from the server to the client. `up`: from the client to the server. */
export type Direction = 'down' | 'up';

/** What happens to a frame. */
export type Fate = 'passed' | 'drop' | 'duplicate' | 'reorder' | 'delay' | 'cut';

/** A frame, by its place. */
export interface Frame {
  readonly connection: number;
  readonly direction: Direction;
  /** From 0, per connection and direction. */
  readonly index: number;
}

/** How often what happens to a frame, each within [0, 1] and all together at most 1; what is left passes. */
export interface Rates {
  /** It is left out. */
  readonly drop?: number;
  /** It comes twice in a row. */
  readonly duplicate?: number;
  /** It comes behind 1 to 3 of the frames that follow it, or after 50 ms where there are none. */
  readonly reorder?: number;
  /** It comes up to `maxDelay` ms later, and so does everything behind it. */
  readonly delay?: number;
  /** @default 50 */
  readonly maxDelay?: number;
  /** The connection is cut instead, without a close frame; of a frame to the client half has been written. */
  readonly cut?: number;
}

/** The rates of both directions. */
export type Faults = { readonly [direction in Direction]?: Rates };

/** How many frames had which fate. */
export type Tally = Record<Fate, number>;

const FATES = ['drop', 'duplicate', 'reorder', 'delay', 'cut'] as const;

/** What happens to a frame, and how much of it (a number in [0, 1)): the same for the same seed, place and rates. */
export function fateOf(seed: number, frame: Frame, rates: Rates): [Fate, number] {
  // Each place has a generator of its own: two frames more in one direction do not change the fates of the other.
  const place = [seed, frame.connection, frame.direction === 'up' ? 1 : 2, frame.index];
  const random = seeded(place.reduce((mixed, part) => seeded(mixed + part)() * 2 ** 32, 0));
  let mark = random();
  const fate = FATES.find((name) => {
    mark -= rates[name] ?? 0;
    return mark < 0;
  });
  return [fate ?? 'passed', random()];
}

/** What a line needs. */
export interface FrameLineOptions extends Omit<Frame, 'index'> {
  readonly seed: number;
  /** The rates of this moment. */
  readonly rates: () => Rates;
  /** Where fates are counted. */
  readonly tally: Tally;
  readonly send: (data: Buffer, binary: boolean) => void;
  readonly close: (code: number, reason: Buffer) => void;
  readonly cut: (data: Buffer, binary: boolean) => void;
}

interface Step {
  /** How long it waits at the head of the line, ms. */
  readonly wait: number;
  readonly run: () => void;
}

interface Held {
  readonly step: Step;
  readonly timer: NodeJS.Timeout;
  /** Frames that go first. */
  behind: number;
}

/** Frames wait here until it is their turn. */
export class FrameLine {
  readonly #options: FrameLineOptions;
  readonly #steps: Step[] = [];
  readonly #held = new Set<Held>();
  #index = 0;
  #timer: NodeJS.Timeout | undefined;
  #stalled = false;
  #ended = false;

  constructor(options: FrameLineOptions) {
    this.#options = options;
  }

  /** Whether nothing leaves the line. */
  set stalled(stalled: boolean) {
    this.#stalled = stalled;
    this.#advance();
  }

  /** Puts a frame at the end. */
  put(data: Buffer, binary: boolean): void {
    if (this.#ended) return;
    const { seed, connection, direction, rates, tally, send, cut } = this.#options;
    const now = rates();
    const [fate, much] = fateOf(seed, { connection, direction, index: this.#index++ }, now);
    tally[fate]++;
    const run = () => send(data, binary);
    if (fate === 'reorder') {
      this.#hold({ wait: 0, run }, 1 + Math.floor(much * 3));
      return;
    }
    if (fate === 'cut') this.#push({ wait: 0, run: () => cut(data, binary) });
    if (fate === 'passed' || fate === 'duplicate') this.#push({ wait: 0, run });
    if (fate === 'duplicate') this.#push({ wait: 0, run });
    if (fate === 'delay') this.#push({ wait: much * (now.maxDelay ?? 50), run });
    // Frames that are left out count too: what is held comes back, whatever became of those behind it.
    for (const held of this.#held) if (--held.behind <= 0) this.#release(held);
  }

  /** Closes behind everything that is in the line. */
  end(code: number, reason: Buffer): void {
    if (this.#ended) return;
    for (const held of this.#held) this.#release(held);
    this.#ended = true;
    this.#push({ wait: 0, run: () => this.#options.close(code, reason) });
  }

  /** Forgets everything; nothing leaves the line any more. */
  clear(): void {
    this.#ended = true;
    this.#steps.length = 0;
    clearTimeout(this.#timer);
    for (const { timer } of this.#held) clearTimeout(timer);
    this.#held.clear();
  }

  #hold(step: Step, behind: number): void {
    const held: Held = { step, behind, timer: setTimeout(() => this.#release(held), 50) };
    this.#held.add(held);
  }

  #release(held: Held): void {
    clearTimeout(held.timer);
    this.#held.delete(held);
    this.#push(held.step);
  }

  #push(step: Step): void {
    this.#steps.push(step);
    this.#advance();
  }

  #advance(): void {
    while (!this.#stalled && this.#timer === undefined) {
      const step = this.#steps.shift();
      if (!step) return;
      if (step.wait === 0) step.run();
      else {
        this.#steps.unshift({ ...step, wait: 0 });
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          this.#advance();
        }, step.wait);
      }
    }
  }
}
