/**
 * The engine's questions, about handshakes and open connections, and their way to the functions that answer them. They come in batches with one wake for
 * many; answers cross together, once per turn. Knows nothing of what is decided.
 */

import { WSEArgumentError } from '../errors.js';
import { replaceLoneSurrogates } from '../json.js';
import type { Answering } from '../options/subscriptions.js';
import type { JwtKeys } from '../options/types.js';
import { describeThrown } from '../thrown.js';
import { type Authorize, type AuthorizeQuestion, toRefused } from './authorize.js';
import type { EngineHandle } from './engine-handle.js';
import { positionsOf } from './pins.js';
import { type SnapshotQuestion, SnapshotRequest, type SnapshotsOptions } from './snapshots.js';
import { type NativeAnswer, toAnswer, toKeyAnswer } from './upgrade-answer.js';
import { type OnUpgrade, Upgrade, type UpgradeQuestion } from './upgrade-request.js';

/** Time between two reports of what has failed: a flood of requests is no flood of warnings. */
const REPORT_MS = 1000;

/** Who answers: what the options of a server say about it. */
export interface Answerers {
  onUpgrade?: OnUpgrade | null;
  jwt?: { keys?: JwtKeys | null } | null;
  authorize?: Authorize | null;
  snapshots?: SnapshotsOptions | 'last' | null;
}

/** The question for a key, as it crosses. */
interface KeyQuestion {
  id: number;
  kind: 'key';
  kid: string | null;
}

/** What is called for a question, and what has failed when that fails. */
type Answerer = 'onUpgrade' | 'jwt.keys' | 'authorize' | 'snapshots.get';

const REPORTS = {
  onUpgrade: { code: 'WSE_UPGRADE_FAILED', consequence: 'the client was answered 500' },
  'jwt.keys': { code: 'WSE_KEYS_FAILED', consequence: 'who waits for the key was answered 503' },
  authorize: { code: 'WSE_AUTHORIZE_FAILED', consequence: 'the topics were refused' },
  'snapshots.get': { code: 'WSE_SNAPSHOTS_FAILED', consequence: 'the client has not got all it asked for' },
} as const;

/** What limits the time of those that are late without their client being told so by the engine alone. */
const LIMITS: Partial<Record<Answerer, string>> = {
  'jwt.keys': 'handshake.upgradeTimeout',
  authorize: 'authorizeTimeout',
  'snapshots.get': 'snapshots.timeout',
};

type Question = UpgradeQuestion | KeyQuestion | AuthorizeQuestion | SnapshotQuestion;

/** A question that is being answered. */
interface Open {
  who: Answerer;
  /** Tells that nobody waits for the answer any more. */
  end?: () => void;
}

/** A batch of questions as it crosses. */
interface Taken {
  asked: Question[];
  /** Those asked before that need no answer any more. */
  gone: number[];
  /** Those about keys and open connections that were not answered in time. */
  late: number[];
}

/** What answers the questions of one engine. */
export class Questions {
  readonly #engine: EngineHandle;
  readonly #answerers: Answerers;
  readonly #answering: Answering;
  /** Those that are being answered. */
  readonly #open = new Map<number, Open>();
  /** JSON texts. */
  #answers: string[] = [];
  #scheduled = false;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #unreported = 0;

  constructor(engine: EngineHandle, answerers: Answerers, answering: Answering) {
    this.#engine = engine;
    this.#answerers = answerers;
    this.#answering = answering;
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
    for (const id of gone) this.#end(id);
    for (const id of late) {
      const open = this.#end(id);
      if (open !== undefined) this.#report(open.who, `no answer within ${LIMITS[open.who]}`);
    }
    // What comes while the server stops has no answer any more: nobody's program is called for it.
    if (this.#engine.isRunning()) for (const question of asked) this.#ask(question);
    else this.#answers.push(...asked.map(failed));
    this.#flush();
    return true;
  }

  /** Nobody waits for the answer any more. */
  #end(id: number): Open | undefined {
    const open = this.#open.get(id);
    this.#open.delete(id);
    open?.end?.();
    return open;
  }

  #ask(question: Question): void {
    const { id } = question;
    const { onUpgrade, jwt, authorize } = this.#answerers;
    switch (question.kind) {
      case 'key': {
        const make = (given: unknown): string => JSON.stringify(toKeyAnswer(id, given));
        // It goes on when nobody waits for it.
        this.#call(id, { who: 'jwt.keys' }, () => jwt?.keys?.(question.kid), make);
        break;
      }
      case 'authorize': {
        const { conn, user, topics } = question;
        const make = (given: unknown): string => JSON.stringify({ id, refused: toRefused(given, topics) });
        this.#call(id, { who: 'authorize' }, () => authorize?.(conn, user, [...topics]), make);
        break;
      }
      case 'snapshot':
        this.#askForState(question);
        break;
      default: {
        const upgrade = new Upgrade(question);
        const make = (given: unknown): string => JSON.stringify(toAnswer(id, given, upgrade.protocols));
        this.#call(id, { who: 'onUpgrade', end: () => upgrade.end() }, () => onUpgrade?.(upgrade), make);
      }
    }
  }

  #askForState(question: SnapshotQuestion): void {
    const { id, user, topics } = question;
    const { snapshots } = this.#answerers;
    const who = 'snapshots.get';
    const request = new SnapshotRequest(question, () => positionsOf(this.#engine, topics));
    const call = (): unknown => {
      request.pin();
      return snapshots === 'last' ? undefined : snapshots?.get(user, [...topics], request);
    };
    const make = (given: unknown): string => {
      const { maxSnapshotBytes } = this.#answering;
      return request.toAnswer(id, given, maxSnapshotBytes, (error) => this.#report(who, error));
    };
    this.#call(id, { who, end: () => request.end() }, call, make);
  }

  /** Calls for an answer; `make` writes it as it crosses, JSON. */
  #call(id: number, open: Open, call: () => unknown, make: (given: unknown) => string): void {
    const { who } = open;
    this.#open.set(id, open);
    const answered = (given: unknown): void => this.#settle(who, id, () => make(given));
    const threw = (error: unknown): void =>
      this.#settle(who, id, () => {
        throw error;
      });
    try {
      const given = call();
      if (isThenable(given)) given.then(answered, threw);
      else answered(given);
    } catch (error) {
      threw(error);
    }
  }

  /** Notes an answer, unless nobody waits for it any more: then it does not matter what came of it. */
  #settle(who: Answerer, id: number, make: () => string): void {
    if (!this.#open.delete(id)) return;
    this.#schedule();
    try {
      this.#answers.push(make());
    } catch (error) {
      this.#answers.push(failed({ id }));
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
        const who = path === 'key' ? 'jwt.keys' : path.startsWith('refused[') ? 'authorize' : 'onUpgrade';
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

/** The answer that there is none, as it crosses. */
function failed({ id }: { id: number }): string {
  return JSON.stringify({ id, failed: true } satisfies NativeAnswer);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
