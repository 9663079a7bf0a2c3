/** The state of a server as plain values, under the names dashboards of this protocol already read. */

/** What `healthSnapshot()` returns: the published members, and those of this engine behind the index signature. */
export interface HealthSnapshot {
  /** Open connections. */
  readonly connections: number;
  /** Inbound events waiting for this process. */
  readonly inbound_queue_depth: number;
  /** Inbound events dropped since the start (`inboundOverflow: 'drop'`). */
  readonly inbound_dropped: number;
  /** Seconds since the engine was created. */
  readonly uptime_secs: number;
  /** False until there is a cluster. */
  readonly cluster_connected: boolean;
  /** False until there is recovery. */
  readonly recovery_enabled: boolean;
  /** False until there is presence. */
  readonly presence_enabled: boolean;
  readonly [name: string]: number | boolean | string | null;
}

/** Reads the engine's JSON. @internal */
export function parseHealth(json: string): HealthSnapshot {
  return JSON.parse(json) as HealthSnapshot;
}
