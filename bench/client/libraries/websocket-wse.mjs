/** The platform's WebSocket speaking our protocol by hand: what wse-client cannot go below. It answers nothing and does not come back. */

export function listen(url, onTrade) {
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => {
    const { t, p } = JSON.parse(data);
    if (t === 'server_ready') socket.send('{"t":"subscription_update","p":{"action":"subscribe","topics":["trades"]}}');
    if (t === 'trade') onTrade(p);
  };
}
