/** Which driver the servers under test have: `WSE_TEST_DRIVER=inline` runs every test against engines without threads. */

/** Whether engines run on the event loop of their JavaScript thread. */
export const INLINE: boolean = process.env.WSE_TEST_DRIVER === 'inline';

/** The option `shards` of a server that would have so many threads. */
export const threads = (count: number): number | 'inline' => (INLINE ? 'inline' : count);
