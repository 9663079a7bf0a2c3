/**
 * The engine's questions about handshakes, and their way to the functions that answer them. They come in batches with one wake for
 * many; answers cross together, once per turn. Knows nothing of what is decided.
 */

import { WSEArgumentError } from '../errors.js';
import { replaceLoneSurrogates } from '../json.js';
import type { JwtKeys } from '../options/types.js';
import { describeThrown } from '../thrown.js';
import type { EngineHandle } from './engine-handle.js';
import { type NativeAnswer, toAnswer, toKeyAnswer } from './upgrade-answer.js';
import { type OnUpgrade, Upgrade, type UpgradeQuestion } from './upgrade-request.js';

/** Time between two reports of what has failed: a flood of requests is no flood of warnings. */
const REPORT_MS = 1000;

/** Who answers: what the options of a server say about it. */
export interface Answerers {
  onUpgrade?: OnUpgrade | null;
  jwt?: { keys?: JwtKeys | null } | null;
}

/** The question for a key, as it crosses. */
interface KeyQuestion {
  id: number;
  kind: 'key';
  kid: string | null;
}

/** What is called for a question, and what has failed when that fails. */
type Answerer = 'onUpgrade' | 'jwt.keys';

const REPORTS = {
  onUpgrade: { code: 'WSE_UPGRADE_FAILED', consequence: 'the client was answered 500' },
  'jwt.keys': { code: 'WSE_KEYS_FAILED', consequence: 'who waits for the key was answered 503' },
} as const;

/** A batch of questions as it crosses. */
interface Taken {
  asked: (UpgradeQuestion | KeyQuestion)[];
  /** Those asked before that need no answer any more. */
  gone: number[];
  /** Those about keys that were not answered in time. */
  late: number[];
}

/** What answers the questions of one engine. */
export class Questions {
  readonly #engine: EngineHandle;
  readonly #answerers: Answerers;
  /** Those that are being answered; undefined: for a key, which goes on when nobody waits for it. */
  readonly #open = new Map<number, Upgrade | undefined>();
  /** JSON texts. */
  #answers: string[] = [];
  #scheduled = false;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #unreported = 0;

  constructor(engine: EngineHandle, answerers: Answerers) {
    this.#engine = engine;
    this.#answerers = answerers;
  }

  /** Answers from now on, until the engine ends. */
  begin(): void {
    const engine = this.#engine;
    const unlisten = engine.onEnd(() => {
      if (!engine.hasEnded()) return;
      unlisten();
      this.#take();
      engine.raw((native) => native.onQuestions(null));
    });
    engine.raw((native) => native.onQuestions(this.#turn));
  }

  readonly #turn = (): void => {
    // Other handles of the event loop have their turn between two batches.
    if (this.#take()) setImmediate(this.#turn);
  };

  /** Whether there was something. */
  #take(): boolean {
    const text = this.#engine.raw((native) => native.takeQuestions());
    if (text === null) return false;
    const { asked, gone, late } = JSON.parse(text) as Taken;
    for (const id of gone) {
      const upgrade = this.#open.get(id);
      this.#open.delete(id);
      upgrade?.end();
    }
    for (const id of late) if (this.#open.delete(id)) this.#report('jwt.keys', 'no answer within handshake.upgradeTimeout');
    for (const question of asked) this.#ask(question);
    this.#flush();
    return true;
  }

  #ask(question: UpgradeQuestion | KeyQuestion): void {
    const { onUpgrade, jwt } = this.#answerers;
    const { id } = question;
    if (question.kind === 'key') {
      this.#open.set(id, undefined);
      this.#call(
        'jwt.keys',
        id,
        () => jwt?.keys?.(question.kid),
        (given) => toKeyAnswer(id, given),
      );
      return;
    }
    const upgrade = new Upgrade(question);
    this.#open.set(id, upgrade);
    this.#call(
      'onUpgrade',
      id,
      () => onUpgrade?.(upgrade),
      (given) => toAnswer(id, given, upgrade.protocols),
    );
  }

  #call(who: Answerer, id: number, call: () => unknown, make: (given: unknown) => NativeAnswer): void {
    const answered = (given: unknown): void => this.#settle(who, id, () => make(given));
    const failed = (error: unknown): void =>
      this.#settle(who, id, () => {
        throw error;
      });
    try {
      const given = call();
      if (isThenable(given)) given.then(answered, failed);
      else answered(given);
    } catch (error) {
      failed(error);
    }
  }

  /** Notes an answer, unless nobody waits for it any more: then it does not matter what came of it. */
  #settle(who: Answerer, id: number, make: () => NativeAnswer): void {
    if (!this.#open.delete(id)) return;
    this.#schedule();
    try {
      this.#answers.push(JSON.stringify(make()));
    } catch (error) {
      this.#answers.push(JSON.stringify({ id, failed: true } satisfies NativeAnswer));
      this.#report(who, error);
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Behind the promises that settle now.
    process.nextTick(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#answers.length === 0) return;
    const text = replaceLoneSurrogates(`[${this.#answers.join()}]`);
    this.#answers = [];
    try {
      for (const { path, reason } of this.#engine.raw((native) => native.answerQuestions(text))) {
        const who = path === 'key' ? 'jwt.keys' : 'onUpgrade';
        this.#report(who, new WSEArgumentError('WSE_INVALID_ANSWER', path === 'key' ? path : `answer.${path}`, reason));
      }
    } catch (error) {
      // Thrown from here it would be the end of the process.
      this.#report('onUpgrade', error);
    }
  }

  #report(who: Answerer, error: unknown): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_MS) {
      this.#unreported += 1;
      return;
    }
    const more = this.#unreported === 0 ? '' : ` (and ${this.#unreported} more before)`;
    this.#reportedAt = now;
    this.#unreported = 0;
    const { text, detail } = describeThrown(error);
    const { code, consequence } = REPORTS[who];
    process.emitWarning(`${who} failed, and ${consequence}: ${text}${more}`, {
      type: 'WSECallbackWarning',
      code,
      ...detail,
    });
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
