/** socket.io-client with the WebSocket transport alone: no request of long polling before it. */
import { io } from 'socket.io-client';

export function listen(url, onTrade) {
  const socket = io(url.replace('ws:', 'http:'), { transports: ['websocket'] });
  socket.on('connect', () => socket.emit('subscribe', 'trades'));
  socket.on('trade', onTrade);
}
