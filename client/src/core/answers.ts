/** What this client tells a server that asks about it (wire: `health_check`, `metrics_request`, `sync_request`). */

import type { Outgoing } from '../protocol/types.js';
import type { ClientStats } from './status.js';

/** The answer to a question of a server. */
export function answerTo(question: string, stats: ClientStats, wanted: readonly string[], version: string): Outgoing {
  const { network, queueSize, subscribedTopics: active, circuitBreaker, recovery, ...connection } = stats;
  const common = { client_version: version };
  if (question === 'sync_request') {
    const payload = {
      ...common,
      protocol_version: 1,
      sequence: stats.messagesSent,
      subscriptions: wanted,
      last_update: new Date(),
    };
    return { type: 'sync_response', payload };
  }
  const { quality, latency, jitter, loss } = network;
  const diagnostics = { quality, latency_ms: latency, jitter_ms: jitter, packet_loss: loss };
  if (question === 'health_check') {
    return { type: 'health_check_response', payload: { ...common, stats: connection, diagnostics, queue_size: queueSize } };
  }
  const subscriptions = { active, pending: wanted.filter((topic) => !active.includes(topic)), failed: [] };
  const payload = {
    ...common,
    connection_stats: connection,
    queue_stats: { size: queueSize },
    diagnostics,
    circuit_breaker: circuitBreaker,
    subscriptions,
    event_sequencer: recovery,
    timestamp: Date.now(),
  };
  return { type: 'metrics_response', payload };
}
