// The page: which message goes to which part of it.
//
// Owns: the table of message types, the pace at which figures are written, React's root with the provider of the client.
// Never: draws, formats, decodes. An unknown type is ignored: a newer server may send more than this page knows.

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { WSEProvider } from 'wse-client/react';
import { createChat } from './chat.js';
import { configure, findEngine } from './client.js';
import { $ } from './dom.js';
import { Link } from './link.js';
import { Own } from './own.jsx';
import { createPanels } from './panels.js';
import { createProcessTable } from './processes.js';
import { createRecovery } from './recovery.js';
import { createRun } from './run.js';
import { createTiles } from './tiles.js';
import { TOPICS } from './topics.mjs';

const WRITE_EVERY_MS = 250;
const DESCRIBE_EVERY_MS = 5000;

const link = new Link();
const panels = createPanels();
const processes = createProcessTable();
const tiles = createTiles(link);
const chat = createChat(link);
const run = createRun(link);
const recovery = createRecovery(link);

const handlers = {
  'system.cpu': (p, late) => panels.reading('cpu', p, late),
  'system.memory': (p, late) => panels.reading('memory', p, late),
  'system.network': (p, late) => panels.reading('network', p, late),
  'system.disk': (p, late) => panels.reading('disk', p, late),
  'system.processes': (p) => processes.take(p),
  'wse.stats'(p) {
    tiles.stats(p);
    chat.listening(p.listening);
  },
  'load.state': (p) => run.take(p),
  chat: (p) => chat.add(p),
  error(p) {
    const text = typeof p?.message === 'string' ? p.message : 'The server refused that.';
    if (p?.code === 'LOAD_REFUSED') run.notice(text);
    else chat.notice(text);
  },
  dashboard_snapshot(p) {
    panels.snapshot(p);
    processes.missing(p.info.missing.processes);
    if (p.latest['system.processes'] !== undefined) processes.take(p.latest['system.processes']);
    if (p.latest['load.state'] !== undefined) run.take(p.latest['load.state']);
    chat.replace(p.chat);
  },
};

link.addEventListener('message', ({ detail: { type, payload, late } }) => {
  if (Object.hasOwn(handlers, type)) handlers[type](payload, late);
});

setInterval(() => {
  if (document.hidden) return;
  tiles.write();
  panels.write();
}, WRITE_EVERY_MS);
setInterval(() => panels.describe(), DESCRIBE_EVERY_MS);

const config = configure(await findEngine(), (client) => link.follow(client));
createRoot($('own')).render(
  <StrictMode>
    <WSEProvider {...config} topics={TOPICS}>
      <Own recovery={recovery} />
    </WSEProvider>
  </StrictMode>,
);
