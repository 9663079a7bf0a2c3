// The head of the page: connection state, connections, messages per second, latency.
//
// Owns: the figures in the four tiles and the state in the header. Numbers are written four times a second; ten times
// would be a blur.
// Never: opens or closes the connection it reports on.

import { Chart } from './chart.js';
import { $, put } from './dom.js';
import { byteRate, count, millis, percentile, together } from './format.js';

const RATE_WINDOW_MS = 1000;

export function createTiles(connection) {
  const state = $('state');
  const charts = {
    connections: new Chart($('spark-connections'), { colors: ['--c-net-1'], grid: false, points: 120, floor: 2 }),
    rate: new Chart($('spark-rate'), { colors: ['--c-cpu'], grid: false, points: 120, floor: 10 }),
    sent: new Chart($('spark-sent'), { colors: ['--c-mem'], grid: false, points: 120, floor: 10 }),
    latency: new Chart($('spark-latency'), { colors: ['--c-load'], grid: false, points: 120, floor: 0.5 }),
  };
  const arrivals = []; // [moment, messages, bytes] received until then
  let stats = {};
  let retryAt = 0;

  connection.addEventListener('state', ({ detail }) => {
    retryAt = detail.state === 'reconnecting' && detail.delay > 0 ? performance.now() + detail.delay : 0;
    state.dataset.state = detail.state;
    document.body.dataset.state = detail.state;
    arrivals.length = 0;
    if (detail.state !== 'live') stats = {};
    writeState();
  });

  function writeState() {
    const words = {
      connecting: 'Connecting',
      live: 'Live',
      quiet: 'No signal',
      reconnecting: 'Reconnecting',
      offline: 'Offline',
    };
    put($('state-text'), words[connection.state]);
    const seconds = Math.ceil((retryAt - performance.now()) / 1000);
    put($('state-note'), retryAt > 0 && seconds > 0 ? `in ${seconds} s` : '');
  }

  function rate() {
    const now = performance.now();
    arrivals.push([now, connection.received, connection.receivedBytes]);
    while (arrivals.length > 2 && arrivals[1][0] <= now - RATE_WINDOW_MS) arrivals.shift();
    const [then, messages, size] = arrivals[0];
    const perSecond = (change) => (now > then ? (change * 1000) / (now - then) : Number.NaN);
    return { messages: perSecond(connection.received - messages), size: perSecond(connection.receivedBytes - size) };
  }

  return {
    stats(payload) {
      stats = payload;
    },
    /** Writes the figures; called four times a second. */
    write() {
      const live = connection.state === 'live';
      const received = live ? rate() : { messages: Number.NaN, size: Number.NaN };
      const p50 = percentile(connection.ages, 0.5);
      const p99 = percentile(connection.ages, 0.99);
      writeState();
      put($('connections'), count(stats.connections));
      put($('connections-note'), connectionsNote(stats.connections));
      put($('rate'), count(received.messages));
      put($('rate-note'), live ? `${together(byteRate(received.size))} into this tab` : '');
      put($('sent'), count(stats.sent));
      put($('sent-note'), `${together(byteRate(stats.bytes))} · ${count(stats.published)} published/s`);
      put($('latency'), millis(p50));
      put($('age-p99'), millis(p99));
      put($('rtt'), millis(connection.roundTrip));
      if (!live) return;
      charts.rate.push([received.messages || 0]);
      charts.connections.push([stats.connections ?? 0]);
      charts.sent.push([stats.sent ?? 0]);
      charts.latency.push([p50 || 0]);
    },
  };
}

function connectionsNote(n) {
  if (n === undefined) return '';
  return n === 1 ? 'only this tab' : `this tab and ${count(n - 1)} more`;
}
