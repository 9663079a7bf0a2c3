/** partysocket's reconnecting WebSocket, without the rest of its package. It comes back; topics and what was missed are the page's own. */
import ReconnectingWebSocket from 'partysocket/ws';

export function listen(url, onTrade) {
  const socket = new ReconnectingWebSocket(url);
  socket.addEventListener('message', ({ data }) => onTrade(JSON.parse(data)));
}
