// A Node program in the room of vite-react/: prices as they come, a question, and a line that arrives whatever becomes of the
// connection or of this process.
//
//   node examples/vite-react/server.mjs
//   node examples/node-client.mjs "hello from Node"

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'wse-client';
import { createOutbox } from 'wse-client/outbox';
import { fileStore } from 'wse-client/outbox/file';

const [text] = process.argv.slice(2);
const url = process.env.WSE_URL ?? 'ws://127.0.0.1:8787/wse';
const outbox = createOutbox({
  store: fileStore(process.env.OUTBOX ?? join(tmpdir(), 'wse-node-client.outbox')),
  takes: (type) => type === 'say', // all else is not worth keeping
});
outbox.on('delivered', ({ message }) => console.log(`delivered: ${message.payload.text}`));
outbox.on('lost', ({ message, reason }) => console.error(`not delivered, ${reason}: ${message.payload.text}`));

const client = connect(`${url}?name=node`, { topics: ['room', 'price.ACME'], extensions: [outbox] });
client.watch('state', ({ state, retryIn }) =>
  console.log(retryIn === undefined ? state : `${state} in ${Math.round(retryIn)} ms`),
);
client.watch('lost', ({ topic, from, to }) => console.error(`${topic}: ${from} to ${to} are lost`));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => client.close());

if (text !== undefined) {
  await client.send('say', { text });
  console.log(`kept: ${text}`); // in the file, whether or not anybody is connected: kill this program now, it is said by the next one
}

// Waits for a connection like everything that is sent, then for the answer of the server's `serve()`.
client.request('who', null, { timeout: 60_000 }).then(
  (members) => console.log(`here: ${Object.values(members).map(({ name }) => name)}`),
  (error) => console.error(error.code),
);

for await (const { type, payload } of client) {
  if (type === 'price') console.log(`ACME ${payload.toFixed(2)}`);
  if (type === 'said') console.log(`${payload.name}: ${payload.text}`);
}
