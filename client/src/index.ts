/** The entry of `wse-client`: `connect()`, its types, its errors. Importing it does nothing. */

export type { BackoffMode, BackoffOptions } from './core/backoff.js';
export type { BreakerState } from './core/breaker.js';
export { connect } from './core/client.js';
export type { Clock, TimerHandle } from './core/clock.js';
export type { StateChange } from './core/driver.js';
export type { EndpointStats, EndpointStrategy } from './core/endpoints.js';
export { type RemoteError, WSEError, type WSEErrorCode, type WSEErrorDetails } from './core/errors.js';
export type { Off, Overflow } from './core/events.js';
export type { Extension, ExtensionHooks, ExtensionHost } from './core/extension.js';
export type { ConnectionState } from './core/machine.js';
export type { ClientOptions, InboundPart, TokenRequest, TokenSource } from './core/options.js';
export type { Priority, SendOptions } from './core/outgoing.js';
export {
  type BatchPart,
  batching,
  circuitBreaker,
  endpointPool,
  networkQuality,
  type Part,
  type PartContext,
  type PoolPart,
  rateLimiter,
} from './core/parts.js';
export type { Quality, QualityReport } from './core/quality.js';
export type { RequestContext, RequestHandler, RequestOptions } from './core/requests.js';
export type { ResumeStats } from './core/resume.js';
export { type ServerInfo, VERSION } from './core/server-info.js';
export type { ClientStats, Counters } from './core/status.js';
export type { SubscribeOptions, SubscriptionResult } from './core/subscriptions.js';
export type { SocketConstructor, SocketLike, TokenPlace } from './core/transport.js';
export type { Closed, EventOf, EventsOf, EventType, Notices, PresenceEvent, SystemEvents, WSEClient } from './core/types.js';
export { DecodeError, type DecodeErrorCode } from './protocol/errors.js';
export type { Category, Outgoing, Position, WSEEvent } from './protocol/types.js';
