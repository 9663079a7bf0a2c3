/** wse-client read by a loop instead of a handler. */
import { connect } from '../../../client/dist/index.js';

export async function listen(url, onTrade) {
  for await (const { payload } of connect(url, { topics: ['trades'], webSocket: WebSocket })) onTrade(payload);
}
