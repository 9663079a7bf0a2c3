export type { BytesLike } from './bytes.js';
export type { AudienceOptions, PublishBytesOptions, PublishOptions } from './envelope.js';
export type { WSEErrorCode } from './error-codes.js';
export { WSEArgumentError, WSEConfigError, WSEError, WSEOverloadedError, WSEStateError } from './errors.js';
export type {
  Adoption,
  Disconnection,
  JsonObject,
  JsonValue,
  PresenceChange,
  PresenceMember,
  PresenceStats,
  SlowConsumer,
  WSEBatch,
  WSEEvent,
  WSEMessage,
} from './events.js';
export type { LazyMessage } from './inbound/lazy.js';
export { type DecodeJwtOptions, decodeJwt, type EncodeJwtOptions, encodeJwt, type JwtClaims } from './jwt.js';
export type {
  EndpointOptions,
  HandshakeOptions,
  HttpOptions,
  JwtAlgorithm,
  JwtKeys,
  JwtOptions,
  KeyMaterial,
  PresenceOptions,
  PublisherOptions,
  RateLimitOptions,
  TlsOptions,
  TrustProxyOptions,
  WSEServerOptions,
} from './options/types.js';
export type { ConnectInfo, WSECallbacks } from './server/callbacks.js';
export type {
  ConnectionInfo,
  PresenceRefusal,
  PresenceSubscribeOptions,
  PresenceSubscription,
  SubscribeOptions,
  TopicAcl,
} from './server/connection-calls.js';
export type { BatchesOptions } from './server/event-reader.js';
export type { WSEHandlers } from './server/handlers.js';
export type { HealthSnapshot } from './server/health.js';
export type { CloseOptions, ListenAddress, NoAddress, StartedAt } from './server/lifecycle.js';
export type { ServeOptions } from './server/serve.js';
export { RustWSEServer } from './server/server.js';
export type { OnUpgrade, UpgradeAnswer, UpgradeRefusal, UpgradeRequest, UpgradeTerms } from './server/upgrade-request.js';
export type { WorkerExit, WorkerPool, WorkersOptions } from './server/workers.js';
export { topicSegment } from './topic.js';
export type { AttachOptions, UpgradeSource } from './upgrade/attachments.js';
export { VERSION } from './version.js';
