/** A decoder that keeps what it told. */
import { expect, vi } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { createLazily } from '../../src/core/lazy.js';
import { SHARED } from '../../src/core/shared.js';
import { createDecoder, type DecodeOptions, type Decoder } from '../../src/protocol/decode.js';
import { DecodeError } from '../../src/protocol/errors.js';
import type { WSEEvent } from '../../src/protocol/types.js';

/** Loads once; what cannot be loaded fails the test. */
export const lazily: DecodeOptions['lazily'] = createLazily(systemClock, new AbortController().signal, SHARED, (error) => {
  throw error;
});

/** What was told, in order. */
export type Told =
  | { event: WSEEvent; raw: Record<string, unknown>; size: number }
  | { binary: Uint8Array }
  | { error: Error & { code?: string } };

/** A decoder and what it told. */
export interface Recorder {
  readonly decoder: Decoder;
  readonly told: Told[];
  /** The types of the events, binary frames as `binary`, errors by their code. */
  names(): string[];
}

/** A decoder that keeps what it told. */
export const recorder = (options?: Partial<DecodeOptions>): Recorder => {
  const told: Told[] = [];
  const decoder = createDecoder(
    {
      event: (event, raw, size) => told.push({ event, raw, size }),
      binary: (binary) => told.push({ binary }),
      error: (error) => told.push({ error }),
    },
    { lazily, Problem: DecodeError, ...options },
  );
  const names = (): string[] =>
    told.map((one) => ('event' in one ? one.event.type : 'binary' in one ? 'binary' : (one.error.code ?? one.error.message)));
  return { decoder, told, names };
};

/** The same, with everything there that is loaded when it is needed. */
export const loaded = async (options?: Partial<DecodeOptions>): Promise<Recorder> => {
  const one = recorder(options);
  one.decoder.take(new Uint8Array());
  await vi.waitFor(() => expect(one.told).toHaveLength(1));
  one.told.length = 0;
  return one;
};

/** Text as the bytes of a BINARY frame, behind `prefix`. */
export const bytesOf = (text: string, prefix = ''): Uint8Array => new TextEncoder().encode(prefix + text);

/** `bytes` behind a prefix of ASCII. */
export const behind = (prefix: string, bytes: Uint8Array): Uint8Array => new Uint8Array([...bytesOf(prefix), ...bytes]);
