/**
 * Every code an error of this package can have: which class carries it, and when it is thrown. The only list there is: the
 * type `WSEErrorCode` and the class an error of the addon becomes follow from it, and tests compare it with docs/api.md and
 * with what the Rust sources throw.
 */

/** The codes, each with the class of its errors and when they are thrown. */
export const ERROR_CODES = {
  WSE_CONFIG_INVALID: ['WSEConfigError', 'an option has a wrong type or value'],
  WSE_CONFIG_UNKNOWN: ['WSEConfigError', 'an option has a name there is not'],
  WSE_CONFIG_UNSUPPORTED: ['WSEConfigError', 'an option is not available in this version'],
  WSE_NOT_RUNNING: ['WSEStateError', 'the server was not started'],
  WSE_STOPPED: ['WSEStateError', 'the server is stopped'],
  WSE_ALREADY_RUNNING: ['WSEStateError', 'the server was started before'],
  WSE_CONSUMER_BUSY: ['WSEStateError', 'another loop of this facade, or its callbacks, read the events'],
  WSE_INBOUND_DISCARDED: ['WSEStateError', "events are thrown away (inbound: 'discard'): there is nothing to read"],
  WSE_NO_WORKER: ['WSEStateError', 'this thread was not started by server.workers()'],
  WSE_WORKER_FAILED: ['WSEError', 'a thread of server.workers() ended before it read, or never began to'],
  WSE_UNKNOWN_HANDLE: ['WSEStateError', 'no server of this process has the handle'],
  WSE_OVERLOADED: [
    'WSEOverloadedError',
    'more than publisher.hardLimit bytes, or as many requests to recover as may, wait: nothing was taken',
  ],
  WSE_REQUESTS_FULL: [
    'WSEOverloadedError',
    'as many requests as may (maxPendingRequests) wait for their answers: nothing was sent',
  ],
  WSE_REQUEST_TIMEOUT: ['WSEError', 'the client has not answered in time'],
  WSE_REQUEST_DISCONNECTED: ['WSEError', 'the client that was asked is gone'],
  WSE_INVALID_TOPIC: ['WSEArgumentError', 'a topic is empty or a pattern where only a name has a meaning'],
  WSE_NO_UPGRADE: ['WSEArgumentError', 'the request given to `handleUpgrade()` asks for no upgrade'],
  WSE_INVALID_ANSWER: [
    'WSEArgumentError',
    'onUpgrade, authorize or snapshots.get answered what cannot be meant: what was asked for is refused, and it is reported',
  ],
  WSE_NO_JSON_FORM: ['WSEArgumentError', 'a value in a payload or an event has no JSON form (Map, Set, Error, symbol …)'],
  WSE_ADDR_IN_USE: ['WSEError', 'the address is taken'],
  WSE_ADDR_NOT_AVAILABLE: ['WSEError', 'the host does not resolve, or is not this machine'],
  WSE_PERMISSION: ['WSEError', 'the system does not allow this address'],
  WSE_START_FAILED: ['WSEError', 'the system refused something else a start needs'],
  WSE_SUBSCRIPTION_LIMIT: ['WSEError', 'the connection has no subscription left (maxSubscriptionsPerConnection)'],
  WSE_PRESENCE_OFF: ['WSEStateError', 'the server keeps no track of presence (presence)'],
  WSE_PRESENCE_NO_USER: ['WSEError', 'nobody has named the user of the connection: it is subscribed, and nobody is present'],
  WSE_PRESENCE_NONE: ['WSEStateError', 'the connection is present on no topic: there is nothing to update'],
  WSE_PRESENCE_TOO_LARGE: ['WSEError', 'the data are larger than presence.maxDataSize'],
  WSE_PRESENCE_FULL: ['WSEError', 'the topic has presence.maxMembers members: it is subscribed, and the user is not present'],
  WSE_INVALID_ACL: ['WSEError', 'a pattern of an ACL cannot be used'],
  WSE_TLS_INVALID: ['WSEError', 'reloadTls() was given a pair that is refused: the old one stays in use'],
  WSE_NO_JWT: ['WSEStateError', 'the server has no `jwt`, so there is no token to refresh or revoke'],
  WSE_TOKEN_INVALID: ['WSEError', 'refreshToken() was given what is no valid token; nothing has changed, as with the next four'],
  WSE_TOKEN_REVOKED: ['WSEError', 'refreshToken() was given a token that was revoked'],
  WSE_TOKEN_OTHER_USER: ['WSEError', "refreshToken() was given a token whose sub is not that of the connection's"],
  WSE_TOKEN_UNAVAILABLE: ['WSEError', 'the key a token names (jwt.keys) could not be had in time'],
  WSE_TOKEN_BUSY: ['WSEError', 'another refresh of the connection waits for its key'],
  WSE_REVOCATIONS_FULL: ['WSEError', 'jwt.maxRevocations users and tokens are revoked: nothing was done'],
  WSE_JWT_ENCODE: ['WSEError', 'encodeJwt() cannot sign these claims'],
  WSE_NATIVE_NOT_FOUND: ['WSEError', 'no addon fits this system; the text names everything that was tried'],
  WSE_THREAD: ['WSEError', 'the system allows no further thread'],
  WSE_INTERNAL: ['WSEError', 'a mistake of this package: please report it'],
} as const;

/** A stable, machine-readable name of what went wrong. */
export type WSEErrorCode = keyof typeof ERROR_CODES;

/** Whether `code` is one of ours. */
export function isErrorCode(code: unknown): code is WSEErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
}
