import net from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fragments, frame, upgradeRequest } from '../support/raw-peer.js';
import { waitUntil } from '../support/wait.js';
import { Child } from './facade.js';

/** A socket on which the upgrade was answered. */
async function open(port: number): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  let answered = false;
  socket.on('data', () => {
    answered = true;
  });
  socket.write(upgradeRequest());
  await waitUntil(() => answered, 'upgrade');
  return socket;
}

const LINUX = process.platform === 'linux';

describe('resources', () => {
  it.skipIf(!LINUX)('of two hundred engines are given back: threads, file descriptors and tables of connections', async () => {
    const child = new Child('cycles');
    const before = await child.report<{ threads: number; fds: number; rss: number }>('before', 25_000);
    const after = await child.report<{ threads: number; fds: number; rss: number }>('after');
    expect(after.threads).toBeLessThanOrEqual(before.threads);
    expect(after.fds).toBeLessThanOrEqual(before.fds);
    // Half of what two hundred tables would take: those of the last engines may wait for the collector.
    expect(after.rss - before.rss).toBeLessThan(400 * 2 ** 20);
    expect(await child.ended()).toMatchObject({ code: 0, signal: null });
  });

  it('of 5,000 connections are given back, those that left in the middle of a message too', async () => {
    const perRound = 1250;
    const child = new Child('load', 'churn', perRound);
    const port = await child.report('port');
    const rss: number[] = [];
    for (let round = 1; round <= 4; round += 1) {
      for (let at = 0; at < perRound; at += 250) {
        const sockets = await Promise.all(Array.from({ length: 250 }, () => open(port)));
        sockets.forEach((socket, i) => {
          if (i % 3 === 0) socket.write(frame({ declared: 100_000, payload: 'x'.repeat(5000) }));
          if (i % 3 === 1) socket.write(fragments('y'.repeat(3000), 1000).subarray(0, 2500));
          if (i % 2 === 0) socket.end();
          else if (i % 5 === 0) socket.resetAndDestroy();
          else socket.end(frame({ opcode: 8 }));
        });
        await waitUntil(() => sockets.every(({ destroyed }) => destroyed), 'end of all sockets');
      }
      child.tell();
      const health = await child.report<Record<string, number>>(`round${round}`);
      expect(health).toMatchObject({
        connections: 0,
        topics: 0,
        inbound_queue_depth: 0,
        outbound_bytes: 0,
        reassembly_bytes: 0,
        congested_connections: 0,
        pending_handshakes: 0,
      });
      expect(await child.report(`ids${round}`)).toEqual([]);
      rss.push(await child.report(`rss${round}`));
    }
    // The first round warms up allocators and the JavaScript heap. The bound is what Linux counts as resident.
    if (LINUX) expect((rss[3] as number) - (rss[1] as number)).toBeLessThan(24 * 2 ** 20);
  });

  it('of the event loop are left to others while up to 50,000 messages per second come in', async () => {
    const wanted = 150_000;
    const child = new Child('load', 'gaps', wanted);
    const port = await child.report('port');
    const socket = await open(port);
    onTestFinished(() => void socket.destroy());
    const text = '{"t":"tick","p":{"symbol":"ABC","price":12345.5,"volume":1000}}';
    const packet = Buffer.concat(Array.from({ length: 500 }, () => frame({ payload: text })));
    const began = performance.now();
    let sent = 0;
    const timer = setInterval(() => {
      const due = Math.min(wanted, (performance.now() - began) * 50);
      for (; sent < due; sent += 500) socket.write(packet);
      if (sent >= wanted) clearInterval(timer);
    }, 5);
    onTestFinished(() => clearInterval(timer));
    const largest = await child.report('largest', 25_000);
    const { ticks, heard, seconds } = Object.assign({}, ...child.reports) as Record<string, number>;
    expect(heard).toBe(wanted + 1);
    // A part of the whole, which a busy machine stretches: three seconds and more.
    expect(largest).toBeLessThan((seconds as number) * 250);
    expect(ticks).toBeGreaterThan(30);
  });
});
