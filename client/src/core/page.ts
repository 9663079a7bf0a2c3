/** What happens to the page or the machine, as it matters to a connection: when to look at it, to drop it, to wait longer. */

import type { Clock } from './clock.js';
import type { Driver } from './driver.js';
import type { Off } from './events.js';
import { watchPage, watchSleep } from './lifecycle.js';

/** Follows the page until the function it returns is called. `look`: the network may have changed, or the connection died unseen. */
export function followPage(clock: Clock, driver: Pick<Driver, 'freeze' | 'network'>, look: () => void): Off {
  const network = (up: boolean) => (): void => {
    driver.network(up);
    look();
  };
  const stops = [
    watchPage({ visible: look, online: network(true), offline: network(false), frozen: driver.freeze, restored: look }),
    watchSleep(clock, look),
  ];
  return () => stops.forEach((stop) => stop());
}
