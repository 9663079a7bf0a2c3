/**
 * One WebSocket: opened with its token where this platform and the server can agree on a place for it, read, written, closed. It knows
 * neither messages nor reconnection.
 */

/** The platform's, where it has one. */
declare const WebSocket: SocketConstructor;

/** Where a token travels. `header`: `Authorization: Bearer` and the cookie `access_token` (not in browsers). `subprotocol`: `bearer.<token>`. `query`: `access_token=…`. `none`: nowhere; a browser's own cookie counts. */
export type TokenPlace = 'header' | 'subprotocol' | 'query' | 'none';

/** The part of a WebSocket that is used. */
export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly readyState: number;
  send(data: string | Uint8Array): void;
  close(code?: number, reason?: string): void;
  /** Ends without a handshake (`ws`). */
  terminate?(): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** A constructor of WebSockets. The second argument is what browsers take; the third is `ws`'s. */
export type SocketConstructor = new (
  url: string,
  // Standard constructors take protocols; those of Node 22 and Bun an object with headers, too.
  protocols?: string[] | { protocols?: string[]; headers?: Record<string, string> },
  options?: { headers?: Record<string, string> },
) => SocketLike;

/** How a socket is opened. */
export interface TransportOptions {
  readonly url: string;
  readonly token: string | undefined;
  /** @default 'header' in Node, Bun and Deno, else 'none' */
  readonly tokenIn?: TokenPlace | undefined;
  readonly protocols: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly webSocket?: SocketConstructor | undefined;
}

/** What happens to it. `closed` comes exactly once, also for one that never opened (1006). */
export interface TransportHandlers {
  opened(): void;
  frame(data: string | Uint8Array): void;
  closed(code: number, reason: string, error?: unknown): void;
}

/** One socket, opening or open. */
export interface Transport {
  /** Bytes that were sent and are not with the system yet; undefined unless it is open. */
  readonly buffered: number | undefined;
  /** False if it is not open: nothing was sent. */
  send(data: string | Uint8Array): boolean;
  /** Closes, at once without a handshake if `hard`, and reports nothing any more. Resolves when it is closed, at the latest after two seconds. */
  close(code: number, reason: string, hard?: boolean): Promise<void>;
}

/** How long the other side may take to answer a Close, ms. */
const CLOSE_MS = 2_000;

/** Node, Bun and Deno have a `process.versions.node`; so has Electron, whose windows have a document. */
const inNode = (): boolean => {
  const { document, process } = globalThis as { document?: unknown; process?: { versions?: { node?: string } } };
  return document === undefined && !!process?.versions?.node;
};

/** Opens a socket; whatever goes wrong is told to `on.closed`. */
export function openTransport(options: TransportOptions, on: TransportHandlers): Transport {
  let socket: SocketLike | undefined;
  let open = false;
  let over = false;
  const closed = (code: number, reason: string, error?: unknown): void => {
    if (over) return;
    over = true;
    on.closed(code, reason, error);
  };
  const begin = async (): Promise<void> => {
    const node = inNode();
    const { token, tokenIn = node ? 'header' : 'none', webSocket } = options;
    const protocols = [...options.protocols];
    let { url } = options;
    if (token !== undefined) {
      if (tokenIn === 'subprotocol') protocols.push(`bearer.${token}`);
      if (tokenIn === 'query') url += `${url.includes('?') ? '&' : '?'}access_token=${encodeURIComponent(token)}`;
    }
    const special = (token && tokenIn === 'header') || Object.keys(options.headers).length > 0 || (!webSocket && node);
    const create = special && (await (await import('./headers.js')).opener({ ...options, tokenIn }));
    if (over) return;
    socket = create ? create(url, protocols) : new (webSocket ?? WebSocket)(url, protocols);
    let failure: unknown;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      open = true;
      if (!over) on.opened();
    };
    socket.onmessage = ({ data }) => {
      if (!over) on.frame(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer));
    };
    socket.onerror = (event: { error?: unknown }) => {
      failure = event?.error;
    };
    // A 401 instead of a refused token's 4401 is what raw endpoints answer (docs/protocol.md §16).
    socket.onclose = ({ code, reason }) =>
      closed(!open && /\b401\b/.test(String(failure)) ? 4401 : code, String(reason), failure);
  };
  begin().catch((error) => closed(1006, '', error));
  return {
    get buffered() {
      return socket?.readyState === 1 ? socket.bufferedAmount : undefined;
    },
    send(data) {
      if (over || socket?.readyState !== 1) return false;
      socket.send(data);
      return true;
    },
    close(code, reason, hard) {
      over = true;
      const last = socket;
      if (last === undefined) return Promise.resolve();
      return new Promise((resolve) => {
        // A peer that does not answer the Close keeps nobody waiting.
        const timer = setTimeout(() => end(), CLOSE_MS);
        const end = (): void => {
          clearTimeout(timer);
          resolve();
          last.terminate?.();
        };
        last.onclose = end;
        if (hard || !open) {
          if (!last.terminate) last.close();
          end();
        } else last.close(code, reason);
      });
    },
  };
}
