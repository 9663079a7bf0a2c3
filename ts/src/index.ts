export type { BytesLike } from './bytes.js';
export type { AudienceOptions, PublishBytesOptions, PublishOptions } from './envelope.js';
export type { WSEErrorCode } from './error-codes.js';
export { WSEArgumentError, WSEConfigError, WSEError, WSEOverloadedError, WSERequestError, WSEStateError } from './errors.js';
export type {
  Adoption,
  Disconnection,
  JsonObject,
  JsonValue,
  PresenceChange,
  PresenceMember,
  PresenceStats,
  SlowConsumer,
  SubscriptionChange,
  SubscriptionRefusal,
  TokenExpiring,
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
  OutboxOptions,
  PresenceOptions,
  PublisherOptions,
  RateLimitOptions,
  RecoveryOptions,
  RecoveryRule,
  TlsOptions,
  TrustProxyOptions,
  WSEServerOptions,
} from './options/types.js';
export type { IncomingRequest } from './server/answers.js';
export type { Authorize, AuthorizeAnswer } from './server/authorize.js';
export type { ConnectInfo, WSECallbacks } from './server/callbacks.js';
export type { RequestOptions } from './server/client-requests.js';
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
export type {
  HistoryOptions,
  RecoverOptions,
  RecoveryResult,
  TopicHistory,
  TopicPosition,
  TopicRecovery,
} from './server/recovery-calls.js';
export type { ServeOptions } from './server/serve.js';
export { RustWSEServer } from './server/server.js';
export type { SnapshotContext, SnapshotProvider, SnapshotsOptions } from './server/snapshots.js';
export type { TokenRefreshed, TokenRevocation } from './server/token-calls.js';
export type { OnUpgrade, UpgradeAnswer, UpgradeRefusal, UpgradeRequest, UpgradeTerms } from './server/upgrade-request.js';
export type { WorkerExit, WorkerPool, WorkersOptions } from './server/workers.js';
export { topicSegment } from './topic.js';
export type { AttachOptions, UpgradeSource } from './upgrade/attachments.js';
export { VERSION } from './version.js';
