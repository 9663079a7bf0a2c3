// This tab's own connection, drawn by React: its quality, what it missed and got, and who else has the page open.
//
// Owns: the markup of three panels. What they show comes from the hooks of `wse-client/react` and the store of recovery.js.
// Never: keeps a state that the client has, draws more than once a frame.

import { useId, useSyncExternalStore } from 'react';
import { useConnection, usePresence } from 'wse-client/react';
import { network, tab } from './client.js';
import { count, millis, NONE, percent } from './format.js';
import { TABS } from './topics.mjs';

const CUT_MS = 5000;

const isLive = ({ state }) => state === 'connected';
const isOpen = ({ isConnected }) => isConnected;

export function Own({ recovery }) {
  const { reconnects, away, back } = useSyncExternalStore(recovery.subscribe, recovery.get);
  return (
    <>
      <Quality reconnects={reconnects} />
      <Recovery away={away} back={back} />
      <Tabs />
    </>
  );
}

function Panel({ title, aside, children }) {
  const id = useId();
  return (
    <section className="panel" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

const STATES = { pending: 'not tried yet', degraded: 'no signal', disconnected: 'ended', error: 'refused' };

function Quality({ reconnects }) {
  const { state, isConnected, quality, latency, jitter, loss, losses, suggestions } = useConnection();
  const grade = isConnected ? quality : 'unknown';
  const facts = [
    ['State', STATES[state] ?? state, 'conn-state'],
    ['Reconnects', count(reconnects), 'conn-reconnects'],
    ['Latency', isConnected ? inMillis(latency) : NONE, 'conn-latency'],
    ['Jitter', isConnected ? inMillis(jitter) : NONE, 'conn-jitter'],
    ['Pings lost', `${percent(loss)} %`, 'conn-loss'],
    ['Gaps not filled', count(losses), 'conn-losses'],
  ];
  return (
    <Panel
      title="Quality"
      aside={
        <b className="grade" data-grade={grade} data-testid="conn-grade" role="status">
          {grade}
        </b>
      }
    >
      <dl className="pairs">
        {facts.map(([name, value, id]) => (
          <div key={id}>
            <dt>{name}</dt>
            <dd data-testid={id}>{value}</dd>
          </div>
        ))}
      </dl>
      {isConnected && suggestions.length > 0 && <p className="run-note faint">{suggestions.join('. ')}.</p>}
    </Panel>
  );
}

const inMillis = (value) => (value === null ? NONE : `${millis(value)} ms`);

function Recovery({ away, back }) {
  const connected = useConnection(isLive);
  return (
    <Panel title="Nothing missed">
      <p className="act">
        <button
          id="act-cut"
          data-testid="act-cut"
          className="run-button"
          type="button"
          aria-disabled={!connected} // not `disabled`: whoever uses the keyboard stays where they are
          onClick={() => connected && network.cut(CUT_MS)}
        >
          Cut this tab's network for 5 s
        </button>
        <span id="cut-facts" data-testid="cut-facts" role="status">
          {words(away, back)}
        </span>
      </p>
      {back?.recovered && back.gaps.length > 0 && <Gaps gaps={back.gaps} />}
    </Panel>
  );
}

function words(away, back) {
  if (away) return 'Off. What is published now, this tab does not hear.';
  if (back === null) return 'Its curves go on without a hole when it is back.';
  const gone = `Away for ${(back.away / 1000).toFixed(1)} s`;
  if (!back.recovered) return `${gone}. Not everything it missed is kept any more: the curves were drawn anew.`;
  const order = back.gaps.every(({ ordered }) => ordered) ? 'in order' : 'not in order';
  return `${gone}. ${count(back.replayed)} missed messages came first, ${order}; ${count(back.late)} of them are the shaded points of each curve.`;
}

/** How each topic's gap was filled: by which messages of its stream. */
function Gaps({ gaps }) {
  const most = Math.max(...gaps.map((gap) => gap.count));
  return (
    <ul className="bars gaps" data-testid="gaps" aria-label="Missed and got, by topic">
      {gaps.map(({ topic, from, to, count: n, ordered }) => (
        <li key={topic} title={`messages ${from} to ${to} of its stream${ordered ? ', in order' : ''}`}>
          <span>{topic}</span>
          <i style={{ '--share': n / most }} />
          <b>{count(n)}</b>
        </li>
      ))}
    </ul>
  );
}

function Tabs() {
  const connected = useConnection(isOpen);
  const present = usePresence(TABS, { load: whoIsThere });
  const tabs = connected ? [...present].sort(([, a], [, b]) => a.since - b.since) : [];
  return (
    <Panel title="Who has this page open">
      <p className="act">
        <b id="tabs-count" data-testid="tabs-count">
          {connected ? `${tabs.length} open` : 'not connected'}
        </b>
        <span>Open another tab, or close one: each is a user who is present.</span>
      </p>
      <ul id="tabs" className="tabs" data-testid="tabs">
        {tabs.map(([id, { since }]) => (
          <li key={id} className={id === tab ? 'is-own' : undefined} title={`since ${new Date(since).toLocaleTimeString()}`}>
            {id === tab ? 'this tab' : `tab ${id.slice(0, 4)}`}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

/** The list the server sends with the subscription; what changes after that, the store hears by itself. */
function whoIsThere(client) {
  return new Promise((resolve) => {
    client.once('tabs', ({ payload }) => resolve(Object.fromEntries(payload.tabs.map(({ id, since }) => [id, { since }]))));
  });
}
