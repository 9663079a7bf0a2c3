/** The platform's WebSocket alone: what no library can go below. It does not come back. */

export function listen(url, onTrade) {
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => onTrade(JSON.parse(data));
}
