// What the engine says about itself: connections, messages and bytes per second.
//
// Owns: the counters of `server.prometheusMetrics()` and their change over about a second, and the count of what this
// process publishes.
// Never: counts deliveries itself. A figure the engine does not report is null, and the page shows a dash for it.

const KEEP = 3; // readings; two a second make a window of one second

/** The one door through which this process publishes, so that publications can be counted. */
export function createPublisher(server) {
  const publisher = {
    published: 0,
    /** @param {string} topic  @param {object} payload  @param {string} [type]  the envelope's type, by default the topic */
    publish(topic, payload, type = topic) {
      try {
        server.publish(topic, type, payload);
        publisher.published++;
      } catch (error) {
        // Above the engine's hard limit this reading is lost on purpose: the next one is newer anyway.
        if (error?.name !== 'WSEOverloadedError') throw error;
      }
    },
  };
  return publisher;
}

export function createStats(server, publisher) {
  const readings = [];
  return {
    sample(now) {
      const metrics = server.prometheusMetrics();
      readings.push({
        now,
        published: publisher.published,
        sent: counter(metrics, 'wse_messages_sent_total'),
        bytes: counter(metrics, 'wse_bytes_sent_total'),
        received: counter(metrics, 'wse_messages_received_total'),
      });
      if (readings.length > KEEP) readings.shift();
      const first = readings[0];
      const last = readings[readings.length - 1];
      const seconds = (last.now - first.now) / 1000;
      const rate = (name) => {
        if (first[name] === null || last[name] === null || seconds <= 0) return null;
        return Math.max(0, Math.round((last[name] - first[name]) / seconds));
      };
      return {
        connections: server.getConnectionCount(),
        listening: server.getTopicSubscriberCount('chat'),
        published: rate('published'),
        sent: rate('sent'),
        bytes: rate('bytes'),
        received: rate('received'),
        dropped: counter(metrics, 'wse_slow_consumer_drops_total'),
      };
    },
  };
}

/** The value of a counter without labels, or null where the text does not have it. */
function counter(metrics, name) {
  const value = Number.parseFloat(new RegExp(`^${name} (\\S+)`, 'm').exec(metrics)?.[1]);
  return Number.isFinite(value) ? value : null;
}
