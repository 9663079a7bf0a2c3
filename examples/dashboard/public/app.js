// The page: which message goes to which part of it.
//
// Owns: the table of message types, the pace at which figures are written, and what happens when the tab is hidden or
// comes back.
// Never: draws, formats, decodes. An unknown type is ignored: a newer server may send more than this page knows.

import { createChat } from './chat.js';
import { Connection } from './connection.js';
import { createCut } from './cut.js';
import { createPanels } from './panels.js';
import { createProcessTable } from './processes.js';
import { createRun } from './run.js';
import { createTabs, ownTab } from './tabs.js';
import { createTiles } from './tiles.js';
import { TOPICS } from './topics.mjs';

const WRITE_EVERY_MS = 250;
const DESCRIBE_EVERY_MS = 5000;

const tab = ownTab();
const connection = new Connection(TOPICS, tab);
const panels = createPanels();
const processes = createProcessTable();
const tiles = createTiles(connection);
const chat = createChat(connection);
const cut = createCut(connection);
const run = createRun(connection);
const tabs = createTabs(connection, tab);

const handlers = {
  'system.cpu'(p, late) {
    panels.reading('cpu', p, late);
    if (late) cut.late();
  },
  'system.memory': (p, late) => panels.reading('memory', p, late),
  'system.network': (p, late) => panels.reading('network', p, late),
  'system.disk': (p, late) => panels.reading('disk', p, late),
  'system.processes': (p) => processes.take(p),
  'wse.stats'(p) {
    tiles.stats(p);
    chat.listening(p.listening);
  },
  'load.state': (p) => run.take(p),
  tabs: (p) => tabs.list(p),
  presence_join: (p) => tabs.joined(p),
  presence_leave: (p) => tabs.left(p),
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

connection.addEventListener('message', ({ detail: { t, p, late } }) => {
  if (Object.hasOwn(handlers, t)) handlers[t](p, late);
});

setInterval(() => {
  if (document.hidden) return;
  tiles.write();
  panels.write();
}, WRITE_EVERY_MS);
setInterval(() => panels.describe(), DESCRIBE_EVERY_MS);

addEventListener('online', () => connection.nudge());
addEventListener('pageshow', (event) => event.persisted && connection.nudge());
addEventListener('pagehide', () => connection.stop());
document.addEventListener('visibilitychange', () => document.hidden || connection.nudge());

connection.start();
