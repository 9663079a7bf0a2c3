/** What happens to the page or the machine, as it matters to a connection: when to look at it, to drop it, to wait longer. */

import type { Clock } from './clock.js';
import type { Driver } from './driver.js';
import type { Off } from './events.js';
import { watchPage, watchSleep } from './lifecycle.js';

/**
 * Follows the page until the function it returns is called. `look`: the network may have changed, do not wait; `probe`: ask whether the
 * other side is still there.
 */
export function followPage(clock: Clock, driver: Pick<Driver, 'freeze' | 'network' | 'wake'>, probe: () => void): Off {
  const look = (): void => {
    driver.wake();
    probe();
  };
  const online = (): void => {
    driver.network(true);
    look();
  };
  const offline = (): void => {
    driver.network(false);
    probe();
  };
  const stops = [watchPage({ visible: look, online, offline, frozen: driver.freeze, restored: look }), watchSleep(clock, look)];
  return () => stops.forEach((stop) => stop());
}
