/** Ours, answering subscriptions in the engine. `--recovery`: what is published is stamped and kept for clients that come back. */
import { feed } from '../feed.mjs';

const { RustWSEServer } = await import(process.env.BENCH_WSE ?? '../../../dist/index.js');
const recovery = process.argv.includes('--recovery');
const server = new RustWSEServer({ host: '127.0.0.1', port: 0, subscriptions: 'acl', recovery });
const { port } = await server.start();
feed({
  port,
  publish: (payload) => server.publish('trades', 'trade', payload),
  drained: () => server.drained(),
});
