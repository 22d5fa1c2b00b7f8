'use strict';

/*
 * Calls of the native half whose answer comes later. It answers each by its
 * number, and waits on threads of its own, so that a call that hangs blocks
 * neither the node's thread nor its disk nor the process's end.
 */

/** Longer than the native half waits for anything but a stop. */
const CALL_MS = 12000;

const UINT32_MAX = 0xffffffff;

/** Interval of checks that the node is not closing, while a call waits. */
const LOOK_MS = 100;

class Calls {
  /** @param {Function} isClosing - true while the node closes. */

  constructor(isClosing) {
    this.isClosing = isClosing;
    this.last = 0;
    this.waiting = new Map();
    this.asked = new Set();    // those of them that a stop does not wait for
    this.timer = null;
  }

  /**
   * Make a call for an RPC client. hsd closes its HTTP server first and waits
   * for unanswered requests, so such calls fail as soon as the node closes.
   * @param {Function} call - of the call's number.
   * @returns {Promise<Object>} the answer.
   */

  ask(call) {
    const promise = this.order(call);

    // A call that was refused at once waits no longer.
    if (this.waiting.has(this.last))
      this.asked.add(this.last);

    if (!this.timer) {
      this.timer = setInterval(() => this.look(), LOOK_MS);
      this.timer.unref();
    }

    return promise;
  }

  look() {
    if (this.isClosing()) {
      for (const id of this.asked)
        this.settle(id, {failed: 'the node closes'});
    }

    if (this.asked.size === 0) {
      clearInterval(this.timer);
      this.timer = null;
    }
  }

  /** Make a call, and wait for its answer. */

  order(call) {
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
        this.forget(id);
        throw e;
      }
    });
  }

  forget(id) {
    clearTimeout(this.waiting.get(id).timer);
    this.waiting.delete(id);
    this.asked.delete(id);
  }

  /** Deliver an answer. One for a call that has timed out is dropped. */

  settle(id, answer) {
    const call = this.waiting.get(id);

    if (!call)
      return;

    this.forget(id);

    if (answer.failed != null)
      call.reject(new Error(answer.failed));
    else
      call.resolve(answer);
  }
}

exports.Calls = Calls;
