// The head of the page: connection state, connections, messages per second, latency.
//
// Owns: the figures in the four tiles and the state in the header. Numbers are written four times a second; ten times
// would be a blur.
// Never: opens or closes the connection it reports on.

import { Chart } from './chart.js';
import { $, put } from './dom.js';
import { byteRate, count, millis, percentile, together } from './format.js';

const RATE_WINDOW_MS = 1000;

export function createTiles(link) {
  const state = $('state');
  const charts = {
    connections: new Chart($('spark-connections'), { colors: ['--c-net-1'], grid: false, points: 120, floor: 2 }),
    rate: new Chart($('spark-rate'), { colors: ['--c-cpu'], grid: false, points: 120, floor: 10 }),
    sent: new Chart($('spark-sent'), { colors: ['--c-mem'], grid: false, points: 120, floor: 10 }),
    latency: new Chart($('spark-latency'), { colors: ['--c-load'], grid: false, points: 120, floor: 0.5 }),
  };
  const arrivals = []; // [moment, messages, bytes] received until then
  let stats = {};

  link.addEventListener('state', ({ detail }) => {
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
    put($('state-text'), words[link.state]);
    const failed = link.state === 'reconnecting' ? (link.stats?.attempts ?? 0) : 0;
    put($('state-note'), failed > 1 ? `attempt ${count(failed)}` : '');
  }

  function rate({ messagesReceived, bytesReceived }) {
    const now = performance.now();
    arrivals.push([now, messagesReceived, bytesReceived]);
    while (arrivals.length > 2 && arrivals[1][0] <= now - RATE_WINDOW_MS) arrivals.shift();
    const [then, messages, size] = arrivals[0];
    const perSecond = (change) => (now > then ? (change * 1000) / (now - then) : Number.NaN);
    return { messages: perSecond(messagesReceived - messages), size: perSecond(bytesReceived - size) };
  }

  return {
    stats(payload) {
      stats = payload;
    },
    /** Writes the figures; called four times a second. */
    write() {
      const live = link.state === 'live';
      const { stats: own } = link;
      const received = live ? rate(own) : { messages: Number.NaN, size: Number.NaN };
      const p50 = percentile(link.ages, 0.5);
      const p99 = percentile(link.ages, 0.99);
      writeState();
      put($('connections'), count(stats.connections));
      put($('connections-note'), connectionsNote(stats.connections));
      put($('rate'), count(received.messages));
      put($('rate-note'), live ? `${together(byteRate(received.size))} into this tab` : '');
      put($('sent'), count(stats.sent));
      put($('sent-note'), `${together(byteRate(stats.bytes))} · ${count(stats.published)} published/s`);
      put($('latency'), millis(p50));
      put($('age-p99'), millis(p99));
      put($('rtt'), millis(live ? (own.network.latency ?? undefined) : undefined));
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
