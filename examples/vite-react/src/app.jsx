// One connection for the whole page: its state, three prices, the lines of a room, and who is in it.

import { useState } from 'react';
import { useClient, useConnection, usePresence, useTopic, WSEProvider } from 'wse-client/react';

const SYMBOLS = ['ACME', 'HOOLI', 'INITECH'];
const KEPT = 60;

/** The last of what a topic says: what it says first (a snapshot) is the list so far. */
const listed = (list = [], { payload }) => [...list, payload].slice(-KEPT);
const reduce = Object.fromEntries(['room', ...SYMBOLS.map((symbol) => `price.${symbol}`)].map((topic) => [topic, listed]));

const guest = `guest ${Math.floor(Math.random() * 1000)}`;

export function App() {
  const [name, setName] = useState(() => new URLSearchParams(location.search).get('name') ?? guest);
  return (
    // The page's own origin: Vite hands /wse on (vite.config.mjs). Another name is another connection.
    <WSEProvider url={`/wse?name=${encodeURIComponent(name)}`} reduce={reduce}>
      <header>
        <h1>Prices and a room</h1>
        <Status />
      </header>
      <section className="prices">
        {SYMBOLS.map((symbol) => (
          <Price key={symbol} symbol={symbol} />
        ))}
      </section>
      <section className="room">
        <Lines />
        <Members name={name} rename={setName} />
      </section>
    </WSEProvider>
  );
}

function Status() {
  const { state, retryIn } = useConnection();
  return (
    <p role="status" data-state={state}>
      {state}
      {state === 'reconnecting' && retryIn !== undefined && `, again within ${Math.ceil(retryIn / 1000)} s`}
    </p>
  );
}

function Price({ symbol }) {
  const prices = useTopic(`price.${symbol}`) ?? [];
  const low = Math.min(...prices);
  const span = Math.max(...prices) - low || 1;
  const points = prices.map((price, n) => `${(100 * n) / (KEPT - 1)},${30 - (28 * (price - low)) / span}`);
  return (
    <article>
      <h2>{symbol}</h2>
      <output>{prices.at(-1)?.toFixed(2) ?? '–'}</output>
      <svg viewBox="0 0 100 32" preserveAspectRatio="none" aria-hidden="true">
        <polyline points={points.join(' ')} />
      </svg>
    </article>
  );
}

function Lines() {
  const lines = useTopic('room') ?? [];
  const client = useClient();
  const [refused, setRefused] = useState('');
  const say = async (form) => {
    try {
      await client().request('say', { text: form.get('text') }); // resolves when the server has it, else says why not
      setRefused('');
    } catch (error) {
      setRefused(error.remote?.message ?? error.message);
    }
  };
  return (
    <div>
      <ol aria-label="Lines">
        {lines.map(({ id, name, text }) => (
          <li key={id}>
            <b>{name}</b> {text}
          </li>
        ))}
      </ol>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          say(new FormData(event.currentTarget));
          event.currentTarget.reset();
        }}
      >
        <input name="text" aria-label="Say" autoComplete="off" />
        <button type="submit">Say</button>
        {refused !== '' && <em role="alert">{refused}</em>}
      </form>
    </div>
  );
}

const whoIsThere = (client) => client.request('who');

function Members({ name, rename }) {
  const members = usePresence('room', { data: { name }, load: whoIsThere });
  return (
    <aside>
      <ul aria-label="Here">
        {[...members].map(([user, { name: of }]) => (
          <li key={user}>{of}</li>
        ))}
      </ul>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          rename(new FormData(event.currentTarget).get('name'));
        }}
      >
        <input name="name" aria-label="Your name" defaultValue={name} maxLength={24} autoComplete="off" />
        <button type="submit">Rename</button>
      </form>
    </aside>
  );
}
