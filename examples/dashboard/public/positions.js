// Where this tab is in each topic: the number of the last message it has had, and the epoch that is counted in.
//
// Owns: which message is new, which has been here already, and behind which one is missing.
// Never: asks for what is missing (connection.js does), forgets a position because a connection has ended.

const ASKED_FOR_MS = 2000; // an answer that takes longer is not waited for

export class Positions {
  #topics = new Map(); // topic -> { epoch, offset }
  #asked = new Map(); // topic -> when what is missing was asked for

  /** `new`, `again`, or `gap`: something before it is missing. A message without a stamp is new. */
  take({ tp: topic, e: epoch, o: offset }) {
    if (typeof topic !== 'string' || typeof epoch !== 'string' || !Number.isSafeInteger(offset)) return 'new';
    const last = this.#topics.get(topic);
    if (last?.epoch === epoch) {
      if (offset <= last.offset) return 'again';
      if (offset > last.offset + 1) return 'gap';
    }
    this.#topics.set(topic, { epoch, offset });
    return 'new';
  }

  /** Whether to ask now for what is missing of a topic: not again while an answer is awaited. */
  mayAsk(topic) {
    const now = performance.now();
    if (now - (this.#asked.get(topic) ?? Number.NEGATIVE_INFINITY) < ASKED_FOR_MS) return false;
    this.#asked.set(topic, now);
    return true;
  }

  /** What the server says about its topics. Only where it could not recover one is its word taken for ours. */
  told(recovery) {
    for (const [topic, { epoch, offset, recovered }] of Object.entries(recovery ?? {})) {
      this.#asked.delete(topic);
      if (recovered === false && typeof epoch === 'string') this.#topics.set(topic, { epoch, offset });
    }
  }

  /** Of some topics, or of all, as a subscription_update says them. */
  of(topics = [...this.#topics.keys()]) {
    return Object.fromEntries(topics.filter((topic) => this.#topics.has(topic)).map((topic) => [topic, this.#topics.get(topic)]));
  }
}
