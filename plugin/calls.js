'use strict';

/*
 * Calls of the native half whose answer has to be waited for. It answers
 * each by its number, and waits on threads of its own: neither the node's
 * thread nor its disk is held up by what hangs, nor is the process's end.
 */

/** Longer than the native half waits for anything but a stop. */
const CALL_MS = 12000;

const UINT32_MAX = 0xffffffff;

class Calls {
  constructor() {
    this.last = 0;
    this.waiting = new Map();
  }

  /**
   * Make a call.
   * @param {Function} call - of the call's number.
   * @returns {Promise<Object>} what came of it.
   */

  ask(call) {
    const id = this.last = this.last % UINT32_MAX + 1;

    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.settle(id, {failed: 'hstratum does not answer'});
      }, CALL_MS);

      timer.unref();
      this.waiting.set(id, {resolve, reject, timer});

      try {
        call(id);
      } catch (e) {
        clearTimeout(timer);
        this.waiting.delete(id);
        throw e;
      }
    });
  }

  /** An answer. One that nobody waits for any more is dropped. */

  settle(id, answer) {
    const call = this.waiting.get(id);

    if (!call)
      return;

    clearTimeout(call.timer);
    this.waiting.delete(id);

    if (answer.failed != null)
      call.reject(new Error(answer.failed));
    else
      call.resolve(answer);
  }
}

exports.Calls = Calls;
