import type { Cancel, Clock, EpochMs } from '../../shared/clock.js';

/** The life of one simulated process: after `die`, nothing that it started goes on. */
export class Mortal {
  isDead = false;

  die(): void {
    this.isDead = true;
  }

  /** The clock as this process sees it: it never fires after death. */
  clock(real: Clock): Clock {
    const alive = (task: () => void) => (): void => {
      if (!this.isDead) task();
    };
    return {
      now: (): EpochMs => real.now(),
      monotonic: () => real.monotonic(),
      after: (delayMs: number, fire: () => void): Cancel => real.after(delayMs, alive(fire)),
      soon: (task: () => void) => real.soon(alive(task)),
    };
  }

  /** An answer from outside that this process waits for: it never comes after death. */
  async answer<T>(promise: Promise<T>): Promise<T> {
    try {
      const value = await promise;
      if (!this.isDead) return value;
    } catch (error) {
      if (!this.isDead) throw error;
    }
    return new Promise(() => {});
  }

  /** A port whose methods do nothing, and never answer, after death. */
  port<Port extends object>(real: Port): Port {
    return new Proxy(real, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]): unknown => {
          if (this.isDead) return new Promise(() => {});
          const result: unknown = member.apply(target, args);
          return result instanceof Promise ? this.answer(result) : result;
        };
      },
    });
  }
}
