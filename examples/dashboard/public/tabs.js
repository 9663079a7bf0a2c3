// The tabs that have this page open, this one among them.
//
// Owns: the list, and how it is written.
// Never: guesses who is there: a list comes with the subscription, and joins and leaves after that.

import { $, put } from './dom.js';
import { TABS } from './topics.mjs';

const KEY = 'wse-tab';

/** This tab's number: it is the same one after a reload, and another one in a copy of the tab that is open beside it. */
export function ownTab() {
  let own = null;
  try {
    own = sessionStorage.getItem(KEY);
    if (own === null) {
      own = crypto.randomUUID();
      sessionStorage.setItem(KEY, own);
    }
  } catch {
    // Storage is switched off: a new one each time.
  }
  return own ?? crypto.randomUUID();
}

export function createTabs(connection, own) {
  const tabs = new Map(); // id -> when it came

  const write = () => {
    const list = $('tabs');
    const ids = [...tabs.keys()].sort((a, b) => tabs.get(a) - tabs.get(b));
    put($('tabs-count'), `${ids.length} open`);
    list.replaceChildren(
      ...ids.map((id) => {
        const item = document.createElement('li');
        item.textContent = id === own ? 'this tab' : `tab ${id.slice(0, 4)}`;
        item.classList.toggle('is-own', id === own);
        item.title = `since ${new Date(tabs.get(id)).toLocaleTimeString()}`;
        return item;
      }),
    );
  };

  connection.addEventListener('state', ({ detail }) => {
    if (detail.state === 'live' || detail.state === 'quiet') return;
    tabs.clear();
    put($('tabs-count'), 'not connected');
    $('tabs').replaceChildren();
  });

  return {
    list(p) {
      tabs.clear();
      for (const { id, since } of p.tabs) tabs.set(id, since);
      write();
    },
    joined(p) {
      if (p.topic !== TABS) return;
      tabs.set(p.user_id, p.data.since);
      write();
    },
    left(p) {
      if (p.topic === TABS && tabs.delete(p.user_id)) write();
    },
  };
}
