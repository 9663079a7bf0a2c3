/** Header floods, requests made to be slow to parse, and requests that are no requests. */

import { describe, expect, it } from 'vitest';
import { frame, RawPeer, SAMPLE_ACCEPT, upgradeRequest } from '../support/raw-peer.js';
import { attacked, unharmed } from './witness.js';

const KIB = 1024;
const MAX_FIELDS = 64;
/** Fields every upgrade here has already. */
const OWN_FIELDS = 5;

const fields = (count: number): [string, string][] => Array.from({ length: count }, (_, index) => [`X${index}`, '1']);

describe('header flood: CVE-2024-37890 GHSA-3h5v-q93c-6h6q (ws)', () => {
  it('takes the 64 fields it promises', async () => {
    const { target, witness } = await attacked();
    const [{ status, headers }] = await RawPeer.ask(target.port, upgradeRequest({ headers: fields(MAX_FIELDS - OWN_FIELDS) }));
    expect(status).toBe(101);
    expect(headers.get('sec-websocket-accept')).toBe(SAMPLE_ACCEPT);
    await unharmed(target, witness);
  });

  it.each([65, 200, 1500])('answers %i fields with 431', async (count) => {
    const { target, witness } = await attacked();
    const [{ status }, peer] = await RawPeer.ask(target.port, upgradeRequest({ headers: fields(count - OWN_FIELDS) }));
    expect(status).toBe(431);
    peer.end();
    await peer.ended();
    await unharmed(target, witness);
  });
});

describe('oversize head: CVE-2023-43669 GHSA-9mcr-873m-xcxp RUSTSEC-2023-0065 (tungstenite)', () => {
  it('answers one header of 17 KiB with 431', async () => {
    const { target, witness } = await attacked();
    const [{ status }] = await RawPeer.ask(target.port, upgradeRequest({ headers: [['X', 'a'.repeat(17 * KIB)]] }));
    expect(status).toBe(431);
    await unharmed(target, witness);
  });

  it('answers a head of 20 MB before it was sent, and takes no more of it', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.dial(target.port, { halfOpen: true });
    const start = performance.now();
    peer.send('GET / HTTP/1.1\r\nX: ');
    // No more than the server reads after its answer: a reset may overtake what was not read yet.
    await peer.write(Buffer.alloc(24 * KIB, 0x61));
    expect((await peer.response()).status).toBe(431);
    const piece = Buffer.alloc(64 * KIB, 0x61);
    let sent = 0;
    while (sent < 20_000_000 && (await peer.write(piece))) sent += piece.length;
    await peer.ended();
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(sent).toBeLessThan(20_000_000);
    await unharmed(target, witness);
  });

  it('reads a head that comes in single bytes in linear time', async () => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.dial(target.port);
    const start = performance.now();
    await peer.trickle(upgradeRequest({ headers: [['X', 'a'.repeat(8 * KIB)]] }));
    expect((await peer.response()).status).toBe(101);
    expect(performance.now() - start).toBeLessThan(9_000);
    await unharmed(target, witness);
  });

  it.each([
    ['an endless request line', 'GET /'],
    ['line ends without an end', 'GET / HTTP/1.1\r\n\r'],
    ['nothing but NUL', '\0'],
  ])('ends %s', async (_, start) => {
    const { target, witness } = await attacked();
    const peer = await RawPeer.dial(target.port);
    peer.send(start);
    for (let i = 0; i < 40 && (await peer.write(Buffer.alloc(KIB, start === '\0' ? 0 : 0x61))); i += 1);
    expect([400, 431]).toContain((await peer.response()).status);
    await peer.ended();
    await unharmed(target, witness);
  });
});

describe('slow or strange header values', () => {
  const values: [string, string, string][] = [
    ['CVE-2021-32640 GHSA-6fc8-4gx4-v693: a protocol of spaces', 'Sec-WebSocket-Protocol', `b${' '.repeat(12_000)}x`],
    ['CVE-2021-32640: a protocol of commas', 'Sec-WebSocket-Protocol', ', '.repeat(6_000)],
    ['GHSA-5v72-xg48-5rpm: extensions without names', 'Sec-WebSocket-Extensions', ';,'.repeat(6_000)],
    ['GHSA-5v72-xg48-5rpm: extension named constructor', 'Sec-WebSocket-Extensions', 'constructor; __proto__=1'],
    ['CVE-2020-7662: an unclosed quoted extension parameter', 'Sec-WebSocket-Extensions', `a; b="${'\\c'.repeat(6_000)}`],
    ['CVE-2026-42544: a protocol that is not ASCII', 'Sec-WebSocket-Protocol', '\xff\xfe\x80 \xe9'],
    ['CVE-2026-42544: extensions that are not ASCII', 'Sec-WebSocket-Extensions', '\xff'.repeat(500)],
    ['CVE-2026-42544: an origin that is not ASCII', 'Origin', '\xff\xfe'],
    ['CVE-2026-42544: a cookie that is not UTF-8', 'Cookie', 'access_token=\xff\xfe; \x80=\x81'],
  ];
  it.each(values)('%s is ignored, at once', async (_, name, value) => {
    const { target, witness } = await attacked();
    const start = performance.now();
    const [{ status, headers }, peer] = await RawPeer.ask(target.port, upgradeRequest({ headers: [[name, value]] }));
    expect(status).toBe(101);
    expect(headers.has('sec-websocket-protocol')).toBe(false);
    expect(headers.has('sec-websocket-extensions')).toBe(false);
    expect(performance.now() - start).toBeLessThan(2_000);
    await peer.nextText((text) => text.includes('server_ready'));
    await unharmed(target, witness);
  });

  it('hands a Cookie that is not UTF-8 to JavaScript as text', async () => {
    const { target, witness } = await attacked();
    await target.take('connect', witness.conn);
    await RawPeer.open(target.port, { headers: [['Cookie', 'a=\xff\xfe']] });
    expect((await target.take('connect'))[2]).toMatch(/^a=/);
    await unharmed(target, witness);
  });
});

describe('requests that are none', () => {
  const good = upgradeRequest().toString('latin1');
  const more = (field: string): string => good.replace('\r\n', `\r\n${field}\r\n`);
  const requests: [string, string, number[]][] = [
    ['a request of HTTP/1.0', good.replace('HTTP/1.1', 'HTTP/1.0'), [400]],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 426]],
    ['a POST', good.replace('GET', 'POST'), [400]],
    ['a plain GET', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', [426]],
    ['version 8', good.replace('Version: 13', 'Version: 8'), [426]],
    ['two keys', more('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='), [400]],
    ['two versions', more('Sec-WebSocket-Version: 8'), [400]],
    ['two Authorization fields', more('Authorization: Bearer a\r\nAuthorization: Bearer b'), [400]],
    ['two hosts', more('Host: evil.example'), [400]],
    ['no host', good.replace(/Host: .*\r\n/, ''), [400]],
    ['a host with a user name', good.replace(/Host: /, 'Host: user@'), [400]],
    ['an Origin hidden behind LF LF', `${good.slice(0, -4)}\n\nOrigin: https://evil.example\r\n\r\n`, [400]],
    ['a line that ends in LF', more('X: 1\nY: 2'), [400]],
    ['a body in chunks', more('Transfer-Encoding: chunked'), [400]],
    ['a target that is no path', good.replace('GET /', 'GET *'), [400]],
    ['a key of 15 bytes', good.replace('dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25j'), [400]],
    ['a key of 10 KB', good.replace('dGhlIHNhbXBsZSBub25jZQ==', 'A'.repeat(10_000)), [400]],
    ['a NUL in a value', good.replace('Host: 127', 'Host: \0'), [400]],
    ['a name that is not ASCII', good.replace('Host:', 'H\xf6st:'), [400]],
    ['a space before the colon', good.replace('Host:', 'Host :'), [400]],
    ['a folded line', good.replace('Host: ', 'Host: a\r\n b'), [400]],
    ['a TLS hello on the plain port', `\x16\x03\x01\x02\x00\x01\x00\x01${'\xfc'.repeat(200)}\r\n\r\n`, [400]],
  ];
  it.each(requests)('%s is refused', async (_, request, statuses) => {
    const { target, witness } = await attacked();
    const [{ status, headers }, peer] = await RawPeer.ask(target.port, request);
    expect(statuses).toContain(status);
    expect(headers.get('connection')).toBe('close');
    peer.end();
    await peer.ended();
    await unharmed(target, witness);
  });

  it('serves frames that came in one packet with the request', async () => {
    const { target, witness } = await attacked();
    await target.take('connect', witness.conn);
    const [{ status }] = await RawPeer.ask(target.port, Buffer.concat([upgradeRequest(), frame({ payload: '{"t":"early"}' })]));
    expect(status).toBe(101);
    const [, conn] = await target.take('connect');
    expect((await target.take('msg', conn))[2]).toEqual({ t: 'early' });
    await unharmed(target, witness);
  });

  it('takes what follows the request for frames, and refuses a body', async () => {
    const { target, witness } = await attacked();
    const smuggled = Buffer.from('GET /admin HTTP/1.1\r\nHost: x\r\n\r\n');
    const [{ status }, peer] = await RawPeer.ask(target.port, Buffer.concat([upgradeRequest(), smuggled]));
    expect(status).toBe(101);
    expect(await peer.closing()).toMatchObject({ code: 1002 });
    const headers: [string, string][] = [['Content-Length', String(smuggled.length)]];
    const [withBody] = await RawPeer.ask(target.port, Buffer.concat([upgradeRequest({ headers }), smuggled]));
    expect(withBody.status).toBe(400);
    await unharmed(target, witness);
  });

  it('takes an absolute target, of which only the path counts', async () => {
    const { target, witness } = await attacked({ path: '/wse' }, { path: '/wse' });
    const [{ status }] = await RawPeer.ask(target.port, good.replace('GET / ', 'GET http://127.0.0.1/wse?x=1 '));
    expect(status).toBe(101);
    await unharmed(target, witness);
  });
});
