// Work that is done again and again while somebody looks, and sooner or later when it failed.

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15_000;
const JITTER = 0.2;

/**
 * Does `work(signal)` when `now` is called, and then every `every` milliseconds while the page is visible; null
 * means once. Each end is told to `contact`; after a failure it is tried again, first after a second, then after
 * twice as long each time, and never before the service said that it may be.
 */
export class Poller {
  #work;
  #contact;
  #stopped = new AbortController();
  #givenUp = null;
  #isUnderWay = false;
  #isWanted = false;
  #failures = 0;
  #timer = 0;

  constructor(work, every, contact) {
    this.every = every;
    this.#work = work;
    this.#contact = contact;
    const resume = () => {
      if (!document.hidden && this.#isWanted) {
        this.now();
      }
    };
    document.addEventListener("visibilitychange", resume, { signal: this.#stopped.signal });
  }

  /** Does the work now; when it is under way, again as soon as that has ended. */
  now() {
    this.#isWanted = true;
    if (!this.#isUnderWay) {
      clearTimeout(this.#timer);
      this.#run();
    }
  }

  /** Does the work now, in place of what is under way. */
  anew() {
    this.#givenUp?.abort();
    this.now();
  }

  /** Ends what is under way, and what it had to tell. */
  stop() {
    this.#stopped.abort();
    clearTimeout(this.#timer);
  }

  async #run() {
    if (document.hidden || this.#stopped.signal.aborted) {
      return; // becoming visible goes on
    }
    this.#isWanted = false;
    this.#isUnderWay = true;
    const pause = await this.#turn();
    this.#isUnderWay = false;
    if (this.#isWanted) {
      this.#run();
    } else if (pause !== null && !this.#stopped.signal.aborted) {
      this.#timer = setTimeout(() => this.now(), pause);
    }
  }

  /** Does the work once; in how many milliseconds it should be done again, or null. */
  async #turn() {
    this.#givenUp = new AbortController();
    const signal = AbortSignal.any([this.#stopped.signal, this.#givenUp.signal]);
    try {
      await this.#work(signal);
    } catch (error) {
      if (signal.aborted) {
        return null;
      }
      const backoff = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS);
      const jitter = 1 + JITTER * (2 * Math.random() - 1); // pages that failed together do not come back together
      const pause = Math.max(backoff * jitter, error.pause ?? 0);
      this.#failures += 1;
      this.#contact.failed(this, error, pause);
      return pause;
    }
    this.#failures = 0;
    if (!signal.aborted) {
      this.#contact.succeeded(this);
    }
    return this.every;
  }
}
