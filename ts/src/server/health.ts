/** The state of a server as plain values, under the names dashboards of this protocol already read. */

/** What `healthSnapshot()` returns: the published members, and those of this engine behind the index signature. */
export interface HealthSnapshot {
  /** Open connections. */
  readonly connections: number;
  /** Inbound events waiting for this process. */
  readonly inbound_queue_depth: number;
  /** Inbound events dropped since the start. */
  readonly inbound_dropped: number;
  /** Seconds since the engine was created. */
  readonly uptime_secs: number;
  /** What runs the engine: threads of its own, or the event loop of the JavaScript thread that started it. */
  readonly driver: 'threads' | 'inline';
  /** False until there is a cluster; the other `cluster_*` members are 0. */
  readonly cluster_connected: boolean;
  readonly cluster_peer_count: number;
  readonly cluster_messages_sent: number;
  readonly cluster_messages_delivered: number;
  readonly cluster_messages_dropped: number;
  readonly cluster_bytes_sent: number;
  readonly cluster_bytes_received: number;
  readonly cluster_reconnect_count: number;
  readonly cluster_unknown_message_types: number;
  readonly cluster_dlq_size: number;
  /** Whether `recovery` is on; where it is not, the other `recovery_*` members are 0. */
  readonly recovery_enabled: boolean;
  readonly recovery_topic_count: number;
  readonly recovery_total_bytes: number;
  /** Whether there is presence; the other `presence_*` members are there only then. */
  readonly presence_enabled: boolean;
  /** Topics with members. */
  readonly presence_topics?: number;
  /** Members of all topics; a user on two topics counts twice. */
  readonly presence_total_users?: number;
  readonly [name: string]: number | boolean | string | null | undefined;
}

/** Reads the engine's JSON. @internal */
export function parseHealth(json: string): HealthSnapshot {
  return JSON.parse(json) as HealthSnapshot;
}
