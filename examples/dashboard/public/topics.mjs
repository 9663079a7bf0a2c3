// What can be listened to, the same in the server and in the page.
//
// Owns: the names of the feed's topics, of the rooms, and of the one the tabs are present on.
// Never: decides who may have one (hub.mjs does).

/** Readings of this machine, of the engine and of the load. */
export const FEED_TOPICS = [
  'system.cpu',
  'system.memory',
  'system.network',
  'system.disk',
  'system.processes',
  'wse.stats',
  'load.state',
];

/** The room everybody is in, and the pattern of all others. */
export const ROOM = 'chat';
export const ALL_ROOMS = 'chat.*';

/** Where the open tabs are present; who subscribes is. */
export const TABS = 'tabs';

/** What a tab listens to. */
export const TOPICS = [...FEED_TOPICS, ROOM, ALL_ROOMS, TABS];
