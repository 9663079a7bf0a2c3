// The load of this page: what is asked for, what runs, what was measured.
//
// Owns: the one run there can be, its end (a page's word, nobody watching, ten minutes without a word, a process that died),
// freezing, blocking and restarting, and the last results of each server under the settings that count now.
// Never: measures by itself, says what was not measured since the settings are what they are.

import { LIMIT_SECONDS, loadBounds, QUEUE_BYTES, readSettings } from './bounds.mjs';
import { micros } from './clock.mjs';
import { Run } from './run.mjs';

const BLOCK_MS = 3000;
const PONGS_LATE_MS = 700; // the last of them are reported until then
const SETTLE_MS = 2500; // until then the window still holds what was before
const UNWATCHED_MS = 5000;

export function createLoad() {
  const bounds = loadBounds();
  let settings = { server: 'wse', connections: Math.min(1000, bounds.connections.max), rate: 50, size: 128 };
  let run = null;
  let wanted = null; // settings that have to be applied
  let stops = 0;
  let closed = false;
  let applying = false;
  let note = '';
  let heardAt = 0;
  let watchedAt = 0;
  let steadyAt = 0;
  let frozen = null; // the others' p99 as it was before, and what has become of the one since
  let block = null;
  let restart = null;
  let results = {};
  let latest = null;

  const unsettle = () => (steadyAt = performance.now() + SETTLE_MS);

  function forget() {
    frozen = null;
    block = null;
    restart = null;
    latest = null;
  }

  async function stop(why = '') {
    stops++;
    wanted = null;
    note = why;
    const old = run;
    run = null;
    forget();
    await old?.end();
  }

  async function apply() {
    while (wanted !== null) {
      const now = wanted;
      const asked = stops;
      wanted = null;
      if (run !== null && run.server !== now.server) {
        const old = run;
        run = null;
        forget();
        await old.end();
        if (stops !== asked) continue;
      }
      if (run === null) {
        const started = new Run({
          server: now.server,
          maxConnections: bounds.connections.max + 50,
          lost: (who) => started === run && stop(who),
        });
        run = started;
        await started.ready.catch((error) => {
          if (run === started) throw error;
        });
        if (run !== started) continue; // stopped meanwhile
      }
      run.set(now);
      unsettle();
    }
  }

  function set(p) {
    const asked = readSettings(p, bounds);
    if (asked === null) return 'That is not within the bounds of this load.';
    const same = ['connections', 'rate', 'size'].every((name) => asked[name] === settings[name]);
    if (!same) results = {}; // they were measured under another load
    settings = asked;
    wanted = asked;
    note = '';
    watchedAt = performance.now();
    kick();
    return null;
  }

  /** One at a time, and once more when something was asked for meanwhile. */
  function kick() {
    if (applying) return;
    applying = true;
    apply()
      .catch((error) => stop(error.message))
      .finally(() => {
        applying = false;
        if (wanted !== null) kick();
      });
  }

  const commands = {
    load_set: set,
    load_stop() {
      stop();
      return null;
    },
    load_freeze({ frozen: on }) {
      if (latest === null) return 'Nothing runs.';
      if ((frozen?.on ?? false) === (on === true)) return null;
      run.freeze(on === true);
      if (on === true) frozen = { on: true, before: latest.p99, since: null, limit: QUEUE_BYTES };
      else frozen.on = false; // what it has lost stays on the page
      return null;
    },
    load_block() {
      if (latest === null || block?.running === true) return 'Nothing runs, or it is blocked already.';
      block = { running: true, at: performance.now(), seconds: BLOCK_MS / 1000 };
      run.block(BLOCK_MS);
      return null;
    },
    load_restart() {
      if (latest === null || restart?.running === true) return 'Nothing runs, or it restarts already.';
      restart = { running: true, at: micros(), connections: settings.connections };
      run.restart();
      return null;
    },
  };

  /** What came of blocking and restarting, as soon as it is known. */
  function conclude() {
    if (block?.running === true) {
      unsettle();
      const seen = run.blocked;
      if (seen !== null && micros() > seen.until + PONGS_LATE_MS * 1000) {
        const sent = run.pongs.filter(([at]) => at >= seen.at && at <= seen.until);
        const answered = sent.filter(([at, took]) => at + took <= seen.until);
        block = {
          running: false,
          seconds: (seen.until - seen.at) / 1e6,
          pings: sent.length,
          answered: answered.length,
          slowest: sent.length > 0 ? Math.max(...sent.map(([, took]) => took)) / 1000 : null,
        };
        result().block = block;
      }
    }
    if (restart?.running === true) {
      unsettle();
      if (run.whole.every((at) => at > restart.at)) {
        restart = { running: false, connections: settings.connections, ms: (Math.max(...run.whole) - restart.at) / 1000 };
        result().restart = restart;
      }
    }
  }

  const result = () => (results[settings.server] ??= {});

  /** Called twice a second; answers what the page shows. */
  function sample(watchers) {
    const now = performance.now();
    if (watchers > 0) watchedAt = now;
    if (run !== null && now - watchedAt > UNWATCHED_MS) stop('It stopped because no page was watching.');
    if (run !== null && now - heardAt > LIMIT_SECONDS * 1000) stop('It stopped by itself after ten minutes.');
    latest = run?.sample() ?? null;
    if (run !== null) conclude();
    if (frozen?.on === true && latest !== null) {
      frozen.since ??= latest.total;
      Object.assign(frozen, latest.probe, { behind: latest.total - frozen.since });
    }
    if (latest !== null && now > steadyAt && latest.open === settings.connections && wanted === null) {
      const { deliveries, p50, p99, js, threads, perConnection, generators } = latest;
      const cores = threads === null ? null : threads.js + threads.rest + threads.shards.reduce((a, b) => a + b, 0);
      Object.assign(result(), { deliveries, p50, p99, js, cores, perConnection, generator: generators.cpu });
    }
    return state();
  }

  function state() {
    return {
      bounds,
      settings,
      note,
      running: run !== null,
      endsIn: run === null ? null : Math.max(0, Math.round(LIMIT_SECONDS - (performance.now() - heardAt) / 1000)),
      driver: run?.facts.driver ?? '',
      now: latest,
      frozen,
      block,
      restart,
      results,
    };
  }

  return {
    state,
    sample,
    /** For good: whoever asks for a load from now on is refused. */
    close() {
      closed = true;
      return stop();
    },
    handles: (name) => Object.hasOwn(commands, name),
    /** Null, or why not. */
    command(name, p) {
      if (closed) return 'The server is ending.';
      heardAt = performance.now();
      return commands[name](p);
    },
  };
}
