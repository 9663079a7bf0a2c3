/**
 * Endpoints: which of several servers to connect to next, by how they have fared. It picks and counts; it never connects.
 */

/**
 * How one of the healthy endpoints is picked. `weighted-random`: by chance, in proportion to the scores. `least-connections`: the
 * one with the fewest open connections of this pool, then with the fewest made so far. `round-robin`: the next one of the list.
 */
export type EndpointStrategy = 'weighted-random' | 'least-connections' | 'round-robin';

/** How endpoints are picked. */
export interface EndpointOptions {
  /** How one is picked. @default 'weighted-random' */
  readonly strategy?: EndpointStrategy;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** Time in ms. */
  readonly now: () => number;
}

/** What is known of an endpoint. */
export interface EndpointStats {
  readonly url: string;
  /** 10 (fails, or is slow) to 100. Each failure costs 30, which fade by half every 30 s; each 20 ms of latency costs 1, at most 45. */
  readonly score: number;
  /** Whether it is picked while others are healthy too: not for 30 s after a failure, longer after several. */
  readonly healthy: boolean;
  /** How often it was picked. */
  readonly attempts: number;
  /** How many connections to it were opened. */
  readonly connections: number;
  /** How many of them are open. */
  readonly active: number;
  /** How often it failed. */
  readonly failures: number;
  /** The moving mean of the time to connect, ms; null: it was never connected to. */
  readonly latency: number | null;
}

/** A pool of endpoints. */
export interface Endpoints {
  /**
   * The endpoint for the next attempt, which is counted. Healthy ones only; where there is none, the one whose failures have faded most.
   */
  pick(): string;
  /** A connection to it was opened, after so many ms. */
  succeeded(url: string, latencyMs: number): void;
  /** An attempt failed, or a connection ended too soon. An open connection is told to {@link closed} too. */
  failed(url: string): void;
  /** A connection that was opened has ended, for whatever reason. */
  closed(url: string): void;
  /** What is known of each, in the order they were given. */
  stats(): EndpointStats[];
}

const FAILURE = 30;
const HALF_LIFE = 30_000;
const WORST = 90;

interface Endpoint {
  url: string;
  attempts: number;
  connections: number;
  active: number;
  failures: number;
  latency: number | null;
  /** What its failures cost, as of `at`. */
  penalty: number;
  at: number;
}

/**
 * A pool of these URLs, each once.
 *
 * @throws RangeError where there is none.
 */
export function createEndpoints(
  urls: readonly string[],
  { strategy = 'weighted-random', random, now }: EndpointOptions,
): Endpoints {
  const all = [...new Set(urls)].map(
    (url): Endpoint => ({ url, attempts: 0, connections: 0, active: 0, failures: 0, latency: null, penalty: 0, at: now() }),
  );
  /** The index after the one picked last. */
  let next = 0;

  const penalty = ({ penalty, at }: Endpoint) => penalty * 0.5 ** ((now() - at) / HALF_LIFE);
  const healthy = (endpoint: Endpoint) => penalty(endpoint) <= FAILURE / 2;
  const score = (endpoint: Endpoint) => Math.max(10, 100 - penalty(endpoint) - Math.min(45, (endpoint.latency ?? 0) / 20));
  const punish = (endpoint: Endpoint, value: number) => {
    endpoint.penalty = Math.min(WORST, value);
    endpoint.at = now();
  };
  /** The endpoint of which `key` is least; of equals the first. */
  const least = (from: Endpoint[], key: (endpoint: Endpoint) => number) =>
    from.reduce((best, endpoint) => (key(endpoint) < key(best) ? endpoint : best));

  const choose = () => {
    // The list from the turn on: what comes first in it is the next in turn, and wins where all are equal.
    const turn = [...all.slice(next), ...all.slice(0, next)];
    const from = turn.filter(healthy);
    // A second key is a fraction too small to weigh against the first.
    if (!from[0]) return least(turn, (endpoint) => penalty(endpoint) + endpoint.attempts / 1e9);
    if (strategy === 'least-connections') return least(from, (endpoint) => endpoint.active + endpoint.connections / 1e9);
    let mark = strategy === 'round-robin' ? 0 : random() * from.reduce((sum, endpoint) => sum + score(endpoint), 0);
    const drawn = from.find((endpoint) => {
      mark -= score(endpoint);
      return mark < 0;
    });
    return drawn ?? from[0];
  };

  /** What a URL that is not of this pool has gone through is nothing to it. */
  const told = (url: string, change: (endpoint: Endpoint) => void) => {
    const endpoint = all.find((endpoint) => endpoint.url === url);
    if (endpoint) change(endpoint);
  };

  if (!all[0]) throw new RangeError('no endpoint');

  return {
    pick() {
      const endpoint = choose();
      next = all.indexOf(endpoint) + 1;
      endpoint.attempts++;
      return endpoint.url;
    },
    succeeded: (url, latencyMs) =>
      told(url, (endpoint) => {
        endpoint.connections++;
        endpoint.active++;
        endpoint.latency = (endpoint.latency ?? latencyMs) * 0.7 + latencyMs * 0.3;
        // Not all of it: an endpoint that opens and cuts again and again stays behind the ones that hold.
        punish(endpoint, penalty(endpoint) / 4);
      }),
    failed: (url) =>
      told(url, (endpoint) => {
        endpoint.failures++;
        punish(endpoint, penalty(endpoint) + FAILURE);
      }),
    closed: (url) =>
      told(url, (endpoint) => {
        if (endpoint.active) endpoint.active--;
      }),
    stats: () =>
      all.map((endpoint) => {
        const { penalty: _, at: __, ...counts } = endpoint;
        return { ...counts, score: score(endpoint), healthy: healthy(endpoint) };
      }),
  };
}
