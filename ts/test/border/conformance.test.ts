/**
 * RFC 6455 on a raw server that echoes: the conversations of the public Autobahn suite that need no extension, each with the
 * numbers of its cases. The suite itself runs in `peers/autobahn.test.ts` where there is a Python 2.7 for it.
 */

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closePayload, type Frame, type FrameSpec, fragments, frame, Opcode, RawPeer } from '../support/raw-peer.js';
import { MIB, startServer, type TestServer, waitUntil } from '../support/server.js';

const { text, binary, continuation, ping, pong, close } = Opcode;
const NAMES: Record<number, string> = { 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' };
const LARGE_MS = 30_000;

let host: TestServer;

beforeAll(async () => {
  host = await startServer({
    protocol: 'raw',
    maxMessageSize: 16 * MIB,
    keep: false,
    pingInterval: 3600,
    idleTimeout: 7200,
  });
  void echo(host);
});

afterAll(() => host.stop());

/** Answers to those who were gone already. */
let unheard = 0;

async function echo({ server }: TestServer): Promise<void> {
  for await (const batch of server.batches()) {
    for (const [type, conn, payload] of batch) {
      if (type === 'raw') unheard += server.send(conn, payload) ? 0 : 1;
      if (type === 'bin') unheard += server.sendBytes(conn, payload) ? 0 : 1;
    }
  }
}

/** A frame as a line to compare: its kind, and its payload where that is short. */
function line({ opcode, payload, fin }: Pick<Frame, 'opcode' | 'payload' | 'fin'>): string {
  const kind = `${fin ? '' : 'part of '}${NAMES[opcode] ?? opcode}`;
  if (opcode === close) return `${kind} ${payload.length < 2 ? 'empty' : payload.readUInt16BE(0)}`;
  if (payload.length <= 130) return `${kind} ${payload.toString('latin1')}`;
  return `${kind} of ${payload.length} bytes, ${createHash('sha1').update(payload).digest('hex')}`;
}

const message = (opcode: number, payload: string | Uint8Array): string =>
  line({ fin: true, opcode, payload: Buffer.from(payload) });

/**
 * Sends these bytes, a number being a pause in milliseconds; all that came back up to the end. An end waits 100 ms for what we
 * answer to messages before it: where this process had to wait longer for the processor, it is tried again.
 */
async function exchange(sent: readonly (Buffer | number)[], chop?: number): Promise<string[]> {
  for (let attempt = 1; ; attempt += 1) {
    const late = host.metric('wse_too_late_total') + unheard;
    const heard = await attemptAt(sent, chop);
    // What came is answered by the turn behind this one, in time or not.
    await waitUntil(() => host.server.inboundQueueDepth() === 0, 'an end of the queue');
    await new Promise((resolve) => setImmediate(resolve));
    if (host.metric('wse_too_late_total') + unheard === late || attempt === 20) return heard;
  }
}

async function attemptAt(sent: readonly (Buffer | number)[], chop?: number): Promise<string[]> {
  using peer = await RawPeer.open(host.port, { path: '/' });
  for (const part of sent) {
    if (typeof part === 'number') await sleep(part);
    else if (chop === undefined) peer.send(part);
    else await peer.trickle(part, chop);
  }
  await peer.closing(LARGE_MS);
  return peer.frames.map(line);
}

/** The same with a Close 1000 at the end. */
const converse = (sent: readonly (Buffer | number)[], chop?: number): Promise<string[]> =>
  exchange([...sent, frame({ opcode: close, payload: closePayload(1000) })], chop);

const f = (opcode: number, payload: string | Uint8Array = '', spec: FrameSpec = {}): Buffer =>
  frame({ opcode, payload, ...spec });
const first = (payload: string | Uint8Array): Buffer => f(text, payload, { fin: false });
const more = (payload: string | Uint8Array): Buffer => f(continuation, payload, { fin: false });
const last = (payload: string | Uint8Array): Buffer => f(continuation, payload);
const hello = f(text, 'hello');
const failed = (code: number, ...before: string[]): string[] => [...before, `close ${code}`];
const clean = (...before: string[]): string[] => failed(1000, ...before);

describe('sizes (1.1.1–1.2.8)', () => {
  it.each([0, 125, 126, 127, 128, 65_535, 65_536])('%i bytes', async (size) => {
    const [letters, bytes] = ['*'.repeat(size), Buffer.alloc(size, 0xfe)];
    const expected = clean(message(text, letters), message(binary, bytes));
    expect(await converse([f(text, letters), f(binary, bytes)])).toEqual(expected);
    if (size === 65_536) expect(await converse([f(text, letters), f(binary, bytes)], 997)).toEqual(expected);
  });
});

describe('pings and pongs (2.1–2.11)', () => {
  it.each(['', 'Hello, world!', Buffer.from([0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0]), Buffer.alloc(125, 0xfe)])(
    'answers a ping of %j, also byte by byte (2.1–2.4, 2.6)',
    async (payload) => {
      for (const chop of [undefined, 1]) expect(await converse([f(ping, payload)], chop)).toEqual(clean(message(pong, payload)));
    },
  );

  it('refuses one of 126 bytes (2.5)', async () => {
    expect(await converse([f(ping, Buffer.alloc(126, 0xfe))])).toEqual(failed(1002));
  });

  it('says nothing to a pong it did not ask for (2.7–2.9)', async () => {
    const unasked = [f(pong), f(pong, 'unsolicited'), f(ping, 'ping')];
    expect(await converse(unasked)).toEqual(clean('pong ping'));
  });

  it.each([undefined, 1])('answers ten pings with ten pongs, in order (2.10, 2.11)', async (chop) => {
    const payloads = Array.from({ length: 10 }, (_, n) => `payload-${n}`);
    const pings = Buffer.concat(payloads.map((payload) => f(ping, payload)));
    expect(await converse([pings], chop)).toEqual(clean(...payloads.map((payload) => `pong ${payload}`)));
  });
});

describe('reserved bits and opcodes (3.1–4.2.5)', () => {
  it.each([1, 2, 3, 4, 5, 6, 7])('RSV %i is refused, what came before it is answered', async (rsv) => {
    for (const opcode of [text, binary, ping, close]) {
      const bad = f(opcode, opcode === close ? closePayload(1000) : 'x', { rsv });
      expect(await converse([bad, f(ping)])).toEqual(failed(1002));
      for (const chop of [undefined, 1]) {
        expect(await converse([hello, bad, f(ping)], chop)).toEqual(failed(1002, 'text hello'));
      }
    }
  });

  it.each([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])('opcode %i is refused', async (opcode) => {
    for (const payload of ['', 'reserved opcode payload']) {
      expect(await converse([f(opcode, payload), f(ping)])).toEqual(failed(1002));
      expect(await converse([hello, f(opcode, payload), f(ping)])).toEqual(failed(1002, 'text hello'));
    }
  });
});

describe('fragments (5.1–5.20)', () => {
  const chops = [undefined, 1] as const;

  it.each([ping, pong])('a control frame (%i) in two is refused (5.1, 5.2)', async (opcode) => {
    expect(await converse([f(opcode, 'fragment1', { fin: false }), last('fragment2')])).toEqual(failed(1002));
  });

  it('two fragments are one message, with a ping between too (5.3–5.8)', async () => {
    for (const chop of chops) {
      const [one, two] = [first('fragment1'), last('fragment2')];
      expect(await converse([Buffer.concat([one, two])], chop)).toEqual(clean('text fragment1fragment2'));
      expect(await converse([one, f(ping, 'between'), two], chop)).toEqual(clean('pong between', 'text fragment1fragment2'));
    }
  });

  it.each([true, false])('a continuation (fin %s) of nothing is refused (5.9–5.14)', async (fin) => {
    for (const chop of chops) {
      expect(await converse([f(continuation, 'nothing', { fin }), hello], chop)).toEqual(failed(1002));
    }
  });

  it('so is one behind a whole message (5.15–5.17)', async () => {
    const whole = [first('fragment1'), last('fragment2')];
    for (const stray of [more('x'), last('x')]) {
      expect(await converse([...whole, stray, hello])).toEqual(failed(1002, 'text fragment1fragment2'));
    }
    expect(await converse([more('1'), last('2'), hello])).toEqual(failed(1002));
    expect(await converse([last('1'), hello])).toEqual(failed(1002));
  });

  it('a new message inside one is refused (5.18)', async () => {
    expect(await converse([first('fragment1'), f(text, 'fragment2')])).toEqual(failed(1002));
  });

  it.each([0, 200])('five fragments with pings between and a pause of %i ms (5.19, 5.20)', async (pause) => {
    const sent = [first('1'), more('2'), f(ping, 'p1'), pause, more('3'), more('4'), f(ping, 'p2'), last('5')];
    expect(await converse(sent)).toEqual(clean('pong p1', 'pong p2', 'text 12345'));
  });
});

// biome-ignore format: a table
const VALID = ['Hello-µ@ßöäüàá-UTF-8!!', 'κόσμε', '\0', '\x7f', '\u0080', '\u07ff', '\u0800', '\ud7ff', '\ue000', '\uffff', '\ufffe',
  '\ufdd0', '\u{10000}', '\u{1fffe}', '\u{10ffff}'] as const;
const INVALID: readonly [what: string, hex: string][] = [
  ['cut short', 'ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0'],
  ['the first character of five and six bytes', 'f8 88 80 80 80'],
  ['', 'fc 84 80 80 80 80'],
  ['above U+10FFFF', 'f4 90 80 80'],
  ['', 'f7 bf bf bf'],
  ['continuation bytes alone', '80'],
  ['', 'bf 80 bf'],
  ['starts alone', 'c0 20 c1 20 c2'],
  ['', 'e0 20'],
  ['', 'f0 20'],
  ['last byte missing', 'c0'],
  ['', 'e0 80 20'],
  ['', 'f0 80 80 20'],
  ['impossible bytes', 'fe'],
  ['', 'fe fe ff ff'],
  ['overlong', 'c0 af'],
  ['', 'e0 80 af'],
  ['', 'f0 80 80 af'],
  ['', 'c1 bf'],
  ['', 'e0 9f bf'],
  ['', 'f0 8f bf bf'],
  ['', 'c0 80'],
  ['surrogates', 'ed a0 80'],
  ['', 'ed bf bf'],
  ['', 'ed a0 80 ed b0 80'],
];
const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

describe('UTF-8 (6.1.1–6.23.7)', () => {
  it('empty messages, in three fragments too (6.1)', async () => {
    expect(await converse([f(text), first(''), more(''), last(''), first(''), more('middle'), last('')])).toEqual(
      clean('text ', 'text ', 'text middle'),
    );
  });

  it.each(VALID)('%j is echoed, whole, in fragments, byte by byte (6.2, 6.5–6.23)', async (valid) => {
    const payload = Buffer.from(valid);
    const expected = clean(message(text, payload));
    expect(await converse([f(text, payload)])).toEqual(expected);
    expect(await converse([fragments(payload, 1)])).toEqual(expected);
    expect(await converse([f(text, payload)], 1)).toEqual(expected);
  });

  it.each(INVALID)('%s: %s is refused, whole and in fragments (6.3, 6.5–6.23)', async (_, hex) => {
    expect(await converse([f(text, bytes(hex))])).toEqual(failed(1007));
    expect(await converse([fragments(bytes(hex), 1)])).toEqual(failed(1007));
  });

  const [good, bad, rest] = [bytes('ce ba e1 bd b9 cf 83 ce bc ce b5'), bytes('f4 90'), bytes('80 80 65 64 69 74 65 64')];

  it.each<[string, Buffer, Buffer, Buffer]>([
    ['a fragment (6.4.1)', first(good), more(Buffer.concat([bad, rest])), last(rest)],
    ['a fragment that ends there (6.4.2)', first(good), more(bad), last(rest)],
    ...([2, 1] as const).map((length): [string, Buffer, Buffer, Buffer] => {
      const whole = frame({ payload: Buffer.concat([good, bytes('f4'), bytes('90'), rest]), mask: Buffer.from([1, 2, 3, 4]) });
      const at = whole.length - rest.length - length;
      return [
        'a piece of a frame (6.4.3, 6.4.4)',
        whole.subarray(0, at),
        whole.subarray(at, at + length),
        whole.subarray(at + length),
      ];
    }),
  ])('fails as soon as %s has made the text invalid', async (_, before, at, behind) => {
    using peer = await RawPeer.open(host.port, { path: '/' });
    peer.send(before);
    await sleep(150);
    expect([peer.closed, peer.over]).toEqual([undefined, undefined]);
    peer.send(at);
    expect(await peer.closing()).toMatchObject({ code: 1007 });
    peer.send(behind);
  });
});

describe('closing (7.1.1–7.13.2)', () => {
  it('ends both ways; what follows a Close has no meaning (7.1.1–7.1.6)', async () => {
    expect(await converse([hello])).toEqual(clean('text hello'));
    // In one piece: a server may end the connection once it has answered a Close.
    const late = [f(close, closePayload(3000)), f(text, 'late'), f(ping)];
    expect(await exchange([Buffer.concat([hello, f(close, closePayload(1001)), ...late])])).toEqual(failed(1001, 'text hello'));
    expect(await exchange([Buffer.concat([first('begun'), f(close, closePayload(1000)), last('late')])])).toEqual(clean());
    const large = Buffer.alloc(256 * 1024, 'x');
    expect(await converse([f(text, large)])).toEqual(clean(message(text, large)));
  });

  it('takes payloads of every legal length, echoed (7.3.1–7.3.5)', async () => {
    expect(await exchange([f(close)])).toEqual(['close empty']);
    expect(await exchange([f(close, 'x')])).toEqual(failed(1002));
    for (const reason of ['', 'Hello World!', '*'.repeat(123)]) {
      using peer = await RawPeer.open(host.port, { path: '/' });
      peer.close(1000, reason);
      expect(await peer.closing()).toEqual({ code: 1000, reason });
      expect(await peer.ended()).toBe('end');
    }
  });

  it('refuses a longer one, and a reason that is not UTF-8 (7.3.6, 7.5.1)', async () => {
    expect(await exchange([f(close, closePayload(1000, '*'.repeat(124)))])).toEqual(failed(1002));
    expect(await exchange([f(close, closePayload(1000, bytes('ce ba ed a0 80 65')))])).toEqual(failed(1007));
  });

  it.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])('returns %i (7.7)', async (code) => {
    expect(await exchange([f(close, closePayload(code))])).toEqual(failed(code));
  });

  it.each([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535])('refuses %i (7.9, 7.13)', async (code) => {
    expect(await exchange([f(close, closePayload(code))])).toEqual(failed(1002));
  });
});

describe('limits (9.1.1–9.8.6, 10.1.1)', () => {
  const content = (size: number): Buffer => Buffer.alloc(size, 'BAsd7&jh23');

  it.each([64 * 1024, 256 * 1024, MIB, 4 * MIB, 8 * MIB, 16 * MIB])('a message of %i bytes (9.1, 9.2)', async (size) => {
    for (const opcode of [text, binary]) {
      expect(await converse([f(opcode, content(size))])).toEqual(clean(message(opcode, content(size))));
    }
  });

  it.each([64, 256, 1024, 4096, 16_384, 65_536, 262_144, MIB, 4 * MIB])('4 MiB in fragments of %i (9.3, 9.4)', async (size) => {
    const whole = content(4 * MIB);
    for (const opcode of [text, binary]) {
      expect(await converse([fragments(whole, size, opcode)])).toEqual(clean(message(opcode, whole)));
    }
  });

  it.each([64, 256, 2048])('1 MiB in pieces of %i (9.5, 9.6)', async (chop) => {
    const whole = content(chop === 64 ? MIB / 8 : MIB);
    for (const opcode of [text, binary]) expect(await converse([f(opcode, whole)], chop)).toEqual(clean(message(opcode, whole)));
  });

  it.each([0, 16, 1024, 16_384])('1000 messages of %i bytes (9.7, 9.8)', async (size) => {
    for (const opcode of [text, binary]) {
      const sent = Array.from({ length: 1000 }, () => f(opcode, content(size)));
      expect(await converse(sent)).toEqual(clean(...sent.map(() => message(opcode, content(size)))));
    }
  });

  it('one message in 50 frames of 1300 bytes (10.1.1)', async () => {
    const whole = Buffer.alloc(65_536, '*');
    expect(await converse([fragments(whole, 1300)])).toEqual(clean(message(text, whole)));
  });
});
