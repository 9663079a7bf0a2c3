// This tab's network, which can be switched off for a while: then no socket gets through, and none is opened.
//
// Owns: the constructor of the page's sockets, and which of them are open.
// Never: knows what goes through them, tells anybody why one ended: whoever has one sees what a network that is gone looks like.

export function createNetwork() {
  const open = new Set();
  const network = {
    /** Whether it is switched off. */
    off: false,

    /** A WebSocket, for the option `webSocket` of `connect()`. Called with `new`. */
    Socket: function Socket(url, protocols) {
      if (network.off) return unreachable();
      const socket = new WebSocket(url, protocols);
      open.add(socket);
      socket.addEventListener('close', () => open.delete(socket));
      return socket;
    },

    /** Off for so many milliseconds; then the page is told that it is online, as a browser tells it. */
    cut(ms) {
      network.off = true;
      setTimeout(() => {
        network.off = false;
        dispatchEvent(new Event('online'));
      }, ms);
      for (const socket of open) {
        const { onclose } = socket;
        socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
        socket.close(4001);
        onclose?.({ code: 1006, reason: '' });
      }
      open.clear();
    },
  };
  return network;
}

/** A socket that never opens. */
function unreachable() {
  const socket = { readyState: 3, bufferedAmount: 0, binaryType: 'arraybuffer', send() {}, close() {} };
  setTimeout(() => socket.onclose?.({ code: 1006, reason: '' }));
  return socket;
}
