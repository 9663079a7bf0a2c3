// Latencies, counted in buckets.
//
// Owns: how a latency in microseconds becomes a bucket (32 to each doubling: about 3 %), and a percentile of the counts.
// Never: keeps single values. Counts of several processes are added.

const FINE = 32;
const FINE_BITS = 5;
const BUCKETS = (31 - FINE_BITS + 1) * FINE;

export class Histogram {
  counts = new Uint32Array(BUCKETS);

  add(micros) {
    this.counts[bucket(micros)]++;
  }

  /** What was counted since the last call, as [bucket, count, bucket, count, …]. */
  take() {
    const pairs = [];
    this.counts.forEach((count, i) => count > 0 && pairs.push(i, count));
    this.counts.fill(0);
    return pairs;
  }

  merge(pairs) {
    for (let i = 0; i < pairs.length; i += 2) this.counts[pairs[i]] += pairs[i + 1];
  }

  /** Milliseconds below which the share `p` lies; null when nothing was counted. */
  percentile(p) {
    const total = this.counts.reduce((a, b) => a + b, 0);
    if (total === 0) return null;
    let left = Math.ceil(total * p);
    const at = this.counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return middle(at) / 1000;
  }
}

function bucket(micros) {
  const us = Math.min(Math.max(0, micros), 2 ** 31 - 1) | 0;
  if (us < FINE) return us;
  const shift = 31 - Math.clz32(us) - FINE_BITS;
  return shift * FINE + (us >> shift);
}

function middle(i) {
  if (i < 2 * FINE) return i;
  const shift = Math.floor(i / FINE) - 1;
  return (i - shift * FINE + 0.5) * 2 ** shift;
}
