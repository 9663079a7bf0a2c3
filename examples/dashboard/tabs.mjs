// Who has the page open: each tab is a user, present on one topic.
//
// Owns: what a tab is called, and the list a new one begins with.
// Never: keeps a list of its own (the engine does), asks a tab who it is: its name is a number it brought or gets.

import { randomUUID } from 'node:crypto';
import { TABS } from './public/topics.mjs';

const TAB = /^[0-9a-f-]{36}$/;

/** For `onUpgrade`: a tab that comes back says who it was, and is the same. */
export const nameTab = ({ query }) => {
  const tab = query.get('tab') ?? '';
  return { user: TAB.test(tab) ? tab : randomUUID() };
};

/** Makes a tab present, and tells it who else is; what changes from here on comes by itself. */
export function welcomeTab(server, conn, reply) {
  const since = server.getConnectionInfo(conn)?.connectedAt.getTime();
  if (since === undefined) return; // it has left again
  server.subscribeConnection(conn, [TABS], { presence: { since } });
  reply(conn, 'tabs', { tabs: Object.entries(server.presence(TABS)).map(([id, { data }]) => ({ id, ...data })) });
}
