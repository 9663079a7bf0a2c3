/**
 * The feed every server publishes in `bench/client.mjs`, so that all clients read the same: the message, its pace, and the answers to
 * the runner's orders. It knows no protocol; how a message goes out is the server's `publish`.
 */
import { setImmediate as turn } from 'node:timers/promises';

/** Bytes of a message's JSON, before a protocol puts anything around it. */
export const SIZE = 128;

/** Messages a flood publishes per turn of the event loop. */
const CHUNK = 256;

/** Microseconds of the clock that all processes of a machine share. */
export const now = () => Number(process.hrtime.bigint() / 1000n);

/** A trade, as an application would publish it. Eight digits of `seq` and twelve of `us` keep its size. */
const trade = (seq, us, note) => ({ seq, us, symbol: 'ACME', side: 'buy', price: 101.25, qty: 300, note });
const FIRST = 10_000_000;
const OFFSET = 100_000_000_000;
const NOTE = 'x'.repeat(SIZE - JSON.stringify(trade(FIRST, OFFSET, '')).length);

/**
 * Publishes on the runner's orders and tells it the port.
 *
 * @param {object} peer
 * @param {number} peer.port  where clients connect
 * @param {(payload: object) => unknown} peer.publish  false: wait for `drained` before the next message
 * @param {() => Promise<void>} [peer.drained]  the server's own backpressure, obeyed beside the window
 */
export function feed({ port, publish, drained }) {
  let seq = FIRST;
  let acked = FIRST;
  let trickle;
  /** Lets a flood go on that waits for its reader. */
  let moved = () => {};

  const send = () => publish(trade(seq++, OFFSET + now(), NOTE));

  /** Open loop: whatever is due by now goes out, whether or not anybody keeps up. */
  const pace = ({ rate, count }) =>
    new Promise((resolve) => {
      const began = now();
      const end = seq + count;
      const step = () => {
        const due = Math.min(end, end - count + Math.floor(((now() - began) / 1e6) * rate));
        while (seq < due) send();
        if (seq < end) setTimeout(step, 1);
        else resolve();
      };
      step();
    });

  /** As fast as the server allows, `window` messages ahead of the reader at most. */
  const flood = async ({ count, window }) => {
    const end = seq + count;
    acked = seq;
    while (seq < end) {
      let free = true;
      for (let left = CHUNK; free && left > 0 && seq < Math.min(end, acked + window); left--) free = send() !== false || !drained;
      if (!free) await drained();
      else await (seq < acked + window ? turn() : new Promise((resolve) => (moved = resolve)));
    }
  };

  const orders = {
    /** A message every millisecond until the next order: who connects has its first one at once. */
    trickle() {
      trickle = setInterval(send, 1);
    },
    stop() {
      clearInterval(trickle);
    },
    paced: pace,
    flood,
    ack(order) {
      acked = order.seq;
      moved();
    },
    cpu() {},
  };
  process.on('message', async (order) => {
    await orders[order.op](order);
    if (order.op === 'ack') return;
    const { user, system } = process.cpuUsage();
    process.send({ op: order.op, next: seq, cpu: user + system });
  });
  // The runner has gone.
  process.on('disconnect', () => process.exit());
  process.send({ op: 'listening', port });
}

/** How long ago a message was published, in microseconds. */
export const age = ({ us }) => now() + OFFSET - us;
