/**
 * Parts a client can do without, each a value for an option, so that who does not name one does not load it. This file makes them; it
 * decides nothing.
 */

import { type Batching, type BatchSends, createBatching } from './batching.js';
import { type Breaker, type BreakerOptions, createBreaker } from './breaker.js';
import type { Clock } from './clock.js';
import { createEndpoints, type EndpointStrategy, type Endpoints } from './endpoints.js';
import { createLimiter, type Limiter, type LimiterOptions } from './limiter.js';
import { createQuality, type QualityMeter } from './quality.js';

/** What parts are made with. */
export interface PartContext {
  readonly clock: Clock;
  /** Milliseconds of the clock. */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
}

/** Makes a part, once for each client. */
export type Part<T> = (context: PartContext) => T;
/** Makes a pool of endpoints, again when they are changed. */
export type PoolPart = (urls: readonly string[], context: PartContext) => Endpoints;
/** Makes what gathers messages, and is given the ways to send them. */
export type BatchPart = (context: PartContext, sends: BatchSends) => Batching;

/** For the option `pool`: endpoints picked by their health. Without it they are tried one after the other, the next one after a failure. */
export const endpointPool =
  (options: { readonly strategy?: EndpointStrategy } = {}): PoolPart =>
  (urls, { now, random }) =>
    createEndpoints(urls, { ...options, now, random });

/** For the option `breaker`: nothing is tried for a while after several failures in a row. */
export const circuitBreaker =
  (options: Omit<BreakerOptions, 'now'> = {}): Part<Breaker> =>
  ({ now }) =>
    createBreaker({ ...options, now });

/** For the option `rateLimit`: a burst, and messages a second; what is beyond waits. It slows down when the server warns. */
export const rateLimiter =
  (options: Omit<LimiterOptions, 'now'> = {}): Part<Limiter> =>
  ({ now }) =>
    createLimiter({ ...options, now });

/** For the option `quality`: latency, jitter, loss and a grade out of the heartbeats. */
export const networkQuality = (): Part<QualityMeter> => createQuality;

/** For the option `batch`: messages of `normal` priority and below share `batch` messages. The server's application takes them apart. */
export const batching =
  (options: { readonly size?: number; readonly delay?: number } = {}): BatchPart =>
  ({ clock }, sends) =>
    createBatching({ ...options, clock }, sends);
