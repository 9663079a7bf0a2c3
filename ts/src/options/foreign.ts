/** Options of other WebSocket servers, and what stands for each of them here: whoever comes from one finds the way at once. */

import type { OptionReader } from './reader.js';

const NO_DEFLATE =
  'permessage-deflate is never negotiated; what sendEvent() sends to WSE clients is compressed (compressionThreshold)';
const ATTACH =
  'here attachTo(httpServer), after new RustWSEServer() without a port: the engine takes the upgrades of that server';
const HAND_OVER =
  'here handleUpgrade(request, socket, head), for a server without a port; attachTo(httpServer) calls it by itself';
const NO_REQUESTS = 'requests are the HTTP server’s: attachTo(httpServer) takes its upgrades';
const ASKED =
  'here onUpgrade: it sees the request and answers terms, or { status } to refuse; allowedOrigins and jwt need no code';
const MESSAGE_SIZE = 'called maxMessageSize here (bytes of one message)';
const QUEUE_SIZE = 'called maxOutboundQueueBytes here (bytes waiting for one connection)';
const SLOW = "here slowConsumer: 'close' or 'drop'";
const PINGS = 'pings always go out by themselves; pingInterval says how often (seconds)';
const EVENT = 'events are read with batches(), setCallbacks() or drainInbound(), not given as options';
const PEM = "here tls: { cert, key }, the PEM's contents and not the name of a file";
const NO_SESSIONS = 'there are no sessions or long polling here: one connection is one WebSocket';

/** Names of the server's options in ws, Socket.IO (engine.io), uWebSockets.js and Bun that are none here. */
const SERVER: ReadonlyMap<string, string> = new Map([
  // ws
  ['maxPayload', MESSAGE_SIZE],
  ['perMessageDeflate', NO_DEFLATE],
  ['server', ATTACH],
  ['noServer', HAND_OVER],
  ['verifyClient', ASKED],
  ['handleProtocols', 'here protocols, a list, and requireProtocol'],
  ['clientTracking', 'connections are always known: getConnections()'],
  ['skipUTF8Validation', 'text is always checked to be UTF-8 (RFC 6455 §8.1)'],
  ['autoPong', 'pings are always answered, by the engine'],
  // Socket.IO, engine.io
  ['cors', 'a WebSocket has no preflight; allowedOrigins lists the origins let in'],
  ['origins', 'called allowedOrigins here'],
  ['pingTimeout', 'here idleTimeout, in seconds: the time without a frame of any kind'],
  ['transports', 'there is one transport here, WebSocket'],
  ['allowUpgrades', 'there is one transport here, WebSocket'],
  ['upgradeTimeout', 'here handshake.timeout for the whole handshake, handshake.upgradeTimeout for onUpgrade, in seconds'],
  ['connectTimeout', 'here handshake.timeout, in seconds'],
  ['maxHttpBufferSize', MESSAGE_SIZE],
  ['httpCompression', NO_DEFLATE],
  ['allowRequest', ASKED],
  ['adapter', 'one server is one process here; broadcast to others is not in this version'],
  ['connectionStateRecovery', 'called recovery here, see docs/recovery.md'],
  ['cookie', NO_SESSIONS],
  ['allowEIO3', NO_SESSIONS],
  ['serveClient', NO_SESSIONS],
  ['wsEngine', NO_SESSIONS],
  // uWebSockets.js
  ['maxPayloadLength', MESSAGE_SIZE],
  ['maxBackpressure', QUEUE_SIZE],
  ['closeOnBackpressureLimit', SLOW],
  ['compression', NO_DEFLATE],
  ['sendPingsAutomatically', PINGS],
  ['maxLifetime', 'not an option here; jwt.closeOnExpiry ends a connection with its token, disconnect(conn) at any time'],
  ['key_file_name', PEM],
  ['cert_file_name', PEM],
  ['ca_file_name', PEM],
  ['dh_params_file_name', PEM],
  ['ssl_ciphers', PEM],
  ['passphrase', 'the key of tls: { cert, key } must not be encrypted'],
  ['upgrade', ASKED],
  ['open', EVENT],
  ['message', EVENT],
  ['close', EVENT],
  ['ping', PINGS],
  ['pong', PINGS],
  ['drain', 'await drained() waits for all connections, slow_consumer tells of a single one'],
  ['dropped', 'slow_consumer tells of it'],
  ['subscription', "subscriptions: 'app' hands you what clients ask for"],
  // Bun
  ['hostname', 'called host here'],
  ['backpressureLimit', QUEUE_SIZE],
  ['sendPings', PINGS],
  ['publishToSelf', 'leave the sender out with publish(…, { except: conn })'],
  ['websocket', 'its members stand beside port here'],
  ['fetch', NO_REQUESTS],
  // Names several of them, or Node's own servers, share
  ['key', PEM],
  ['cert', PEM],
  ['ca', PEM],
  ['heartbeatInterval', 'called pingInterval here (seconds)'],
  ['heartbeatTimeout', 'called idleTimeout here (seconds)'],
  ['auth', 'here jwt: { secret }'],
  ['threads', 'called shards here'],
]);

/** Names of Node's TLS options that are none here. */
const TLS: ReadonlyMap<string, string> = new Map([
  ['passphrase', 'the key must not be encrypted'],
  ['pfx', 'give the PEM texts cert and key'],
  ['ca', 'client certificates are not asked for; put the chain into cert, leaf first'],
  ['requestCert', 'client certificates are not asked for'],
  ['rejectUnauthorized', 'client certificates are not asked for'],
  ['minVersion', 'TLS 1.2 and 1.3 are spoken'],
  ['maxVersion', 'TLS 1.2 and 1.3 are spoken'],
  ['ciphers', 'not an option here: what is offered is safe'],
  ['keyFile', 'give the contents as key'],
  ['certFile', 'give the contents as cert'],
]);

/**
 * Refuses the first option that is another server's, naming ours. Before anything else is looked at: an option that is missing is
 * often missing because the other one stands for it.
 *
 * @throws WSEConfigError `WSE_CONFIG_UNKNOWN`
 */
export function refuseForeign(reader: OptionReader, where: 'server' | 'tls'): void {
  const known = where === 'tls' ? TLS : SERVER;
  for (const name of reader.names()) {
    const ours = known.get(name);
    if (ours !== undefined) reader.refuseName(name, ours);
  }
}
