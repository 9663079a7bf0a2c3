// What wse-client has to be able to do in a runtime other than Node: topics, a request each way, an outbox in a file, coming back, an end
// by itself. Run by runtimes.test.ts in Node, Bun and Deno; prints one line of JSON.

import { connect } from 'wse-client';
import { createOutbox } from 'wse-client/outbox';
import { fileStore } from 'wse-client/outbox/file';
import { RustWSEServer } from '../../../dist/index.js';

const server = new RustWSEServer({ port: 0, subscriptions: 'acl', recovery: true });
const { port } = await server.start();
const orders = [];
const connections = [];
const serving = server.serve({
  connect: (conn) => void connections.push(conn),
  message(conn, { t, p }) {
    if (t === 'double') return p * 2;
    if (t === 'order') orders.push(p);
    if (t === 'ask me') server.request(conn, 'name').then((name) => orders.push(name));
    return undefined;
  },
});

const outbox = createOutbox({ store: fileStore(process.argv[2]), takes: (type) => type === 'order' });
const client = connect(`ws://127.0.0.1:${port}/wse`, { topics: ['a'], extensions: [outbox], reconnect: { baseDelay: 10 } });
client.onRequest('name', () => 'grüß');
const states = [];
client.watch('state', ({ state }) => states.push(state));
await client.subscribe(['b']);
server.publish('b', 'tick', 1);
const heard = [(await client.recv(10_000)).payload];
const doubled = await client.request('double', 21);
await client.send('ask me');

await until(() => orders.length === 1);
const back = new Promise((resolve) => client.watch('subscription', resolve));
server.disconnect(connections[0], { code: 4300 });
server.publish('a', 'tick', 2);
await back;
heard.push((await client.recv(10_000)).payload);
await client.send('order', { qty: 3 });
await until(() => orders.length === 2 && outbox.size === 0);
const { durable } = outbox;
await client.close();
await server.stop();
await serving;
console.log(JSON.stringify({ heard, doubled, orders, durable, states }));

async function until(done) {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 5));
}
