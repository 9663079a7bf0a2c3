/** The package as it is built, from CommonJS: its one process has a server, a client and an end. (The README's program is the ESM one.) */

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Program } from '../../../ts/test/docs/run.js';
import { VERSION } from '../../src/index.js';

const CODE = `
const { connect, WSEError } = require('./client/dist/index.cjs');
const { inbound } = require('./client/dist/inbound/index.cjs');
const { RustWSEServer } = require('./dist/index.cjs');
(async () => {
  const server = new RustWSEServer({ port: 0, subscriptions: 'acl' });
  const { port } = await server.start();
  let conn;
  const serving = server.serve({ connect: (id) => { conn = id; }, message: (_, { p }) => p + 1 });
  const client = connect('ws://127.0.0.1:' + port, { topics: ['a'] });
  await client.subscribe(['b']);
  server.publish('b', 'tick', { n: 1 });
  console.log((await client.recv(5000)).payload.n, typeof WSEError);
  client.onRequest('double', (n) => n * 2);
  console.log(await client.request('next', 1), await server.request(conn, 'double', 3));
  const whole = connect('ws://127.0.0.1:' + port, { inbound, topics: ['c'] });
  await whole.subscribe(['d']);
  console.log([...whole.subscribedTopics].join());
  await whole.close();
  await client.close();
  await server.stop();
  await serving;
})();
`;

it('works, and lets its process end', async () => {
  const program = new Program(['--input-type=commonjs', '-e', CODE]);
  expect(await program.end()).toEqual({ code: 0, errors: '' });
  expect(program.lines()).toEqual(['1 function', '2 6', 'c,d']);
});

it('tells servers its version', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  expect(VERSION).toBe(manifest.version);
});
