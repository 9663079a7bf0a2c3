/** The option `http`: its two forms, and what is refused with a pointer to what helps. */

import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WSEConfigError } from '../../src/index.js';
import { resolveAll } from '../../src/options/resolve.js';
import type { WSEServerOptions } from '../../src/options/types.js';

const app = http.createServer();
const resolve = (given: unknown, more: Partial<WSEServerOptions> = {}) =>
  resolveAll({ port: 0, http: given as WSEServerOptions['http'] & object, ...more });

/** The path of the option that is refused, and why. */
function refused(given: unknown, more: Partial<WSEServerOptions> = {}): string {
  try {
    resolve(given, more);
  } catch (error) {
    expect(error).toBeInstanceOf(WSEConfigError);
    return (error as WSEConfigError).message;
  }
  return 'nothing';
}

afterEach(() => void vi.unstubAllGlobals());

describe('http', () => {
  it('is nothing by default', () => {
    expect(resolveAll({ port: 0 })).toMatchObject({ native: { http: null }, httpServer: null });
    expect(resolve(null)).toMatchObject({ native: { http: null }, httpServer: null });
  });

  it('has a short form', () => {
    const questions = { health: null, ready: null, metrics: null, allow: null };
    expect(resolve(app).native.http).toEqual({ ...questions, handsOver: true });
    expect(resolve(app).httpServer).toBe(app);
    expect(resolve({ server: app }).native.http).toEqual({ ...questions, handsOver: true });
    expect(resolve({ health: '/h' }).native.http).toEqual({ ...questions, health: '/h', handsOver: false });
    expect(resolve({ ready: '/r', allow: ['10.0.0.0/8'] }).native.http).toMatchObject({ ready: '/r', allow: ['10.0.0.0/8'] });
  });

  it.each([
    [https.createServer(), 'http: must be a server of node:http; of one that ends TLS, server.attachTo(httpServer)'],
    [net.createServer(), 'http: must be a server of node:http, not'],
    [() => {}, 'http: must be a server, not its handler: give http.createServer(handler)'],
    [{ server: 'x' }, 'http.server: must be a server of node:http, not'],
    [{}, 'http: must name a server, or a path'],
    [{ allow: ['::1'] }, 'http.allow: says who may ask'],
    [{ health: 'healthz' }, 'http.health: must start with /'],
    [{ health: '/a', ready: '/a' }, 'http: health, ready and metrics need paths of their own'],
    [{ helth: '/a' }, 'http.helth: unknown option'],
    [7, 'http: http must be an object, not'],
  ])('refuses %s', (given, message) => {
    expect(refused(given)).toContain(message);
  });

  it('is not given with tls, unless nothing is handed over', () => {
    const tls = { cert: 'c', key: 'k' };
    expect(refused(app, { tls })).toContain('tls: cannot be given with an HTTP server');
    expect(resolve({ health: '/h' }, { tls }).native.tls).not.toBeNull();
  });

  it.each(['bun', 'deno', 'win32'])('points to attachTo() on %s', (where) => {
    const { versions, platform } = process;
    const elsewhere =
      where === 'win32' ? { platform: where, versions } : { platform, versions: { ...versions, [where]: '1.0.0' } };
    vi.stubGlobal(
      'process',
      Object.create(process, Object.getOwnPropertyDescriptors(Object.fromEntries(Object.entries(elsewhere)))),
    );
    expect(refused(app)).toContain('server.attachTo(httpServer) serves both on the port of the HTTP server instead');
    expect(resolve({ health: '/h' }).native.http).toMatchObject({ health: '/h' });
  });
});
