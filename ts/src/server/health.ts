/** The state of a server as plain values. */

/** What `healthSnapshot()` returns. Members of features that are not built are absent. */
export interface HealthSnapshot {
  /** Open connections. */
  connections: number;
  /** Inbound events waiting for this process. */
  inboundQueueDepth: number;
  /** Inbound events dropped since the start. */
  inboundDropped: number;
  /** Seconds since the start. */
  uptimeSecs: number;
  [name: string]: number | boolean | string | null;
}

/** The engine's JSON (snake_case, as published servers have it) in camelCase. @internal */
export function parseHealth(json: string): HealthSnapshot {
  const members = Object.entries(JSON.parse(json) as Record<string, number | boolean | string | null>);
  return Object.fromEntries(
    members.map(([name, value]) => [name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()), value]),
  ) as HealthSnapshot;
}
