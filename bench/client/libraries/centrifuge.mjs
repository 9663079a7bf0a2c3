/** centrifuge-js with its JSON protocol: one channel, one subscription. */
import { Centrifuge } from 'centrifuge';

export function listen(url, onTrade) {
  const client = new Centrifuge(url);
  const subscription = client.newSubscription('trades');
  subscription.on('publication', ({ data }) => onTrade(data));
  subscription.subscribe();
  client.connect();
}
