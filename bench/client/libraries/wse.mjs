/** wse-client as its README has it: one topic, one handler. */
import { connect } from '../../../client/dist/index.js';

export function listen(url, onTrade) {
  connect(url, { topics: ['trades'], webSocket: WebSocket }).on('trade', ({ payload }) => onTrade(payload));
}
