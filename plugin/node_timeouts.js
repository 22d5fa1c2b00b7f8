'use strict';

/*
 * Time limits of questions to the node: another plugin, a lock or a disk can
 * keep it from answering at all. A question that is overdue is reported to the
 * native half, which logs and shows it and raises an alarm.
 */

const LOOK_MS = 1000;

class NodeTimeouts {
  constructor(server) {
    this.server = server;
    this.waits = new Set();
    this.overdue = null;     // the last one reported
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.timer.unref();
  }

  stop() {
    clearInterval(this.timer);
  }

  /**
   * Wait for the node, however long that takes.
   * @param {String} what - the call.
   * @param {Number} ms - time after which it is overdue.
   * @param {Promise} promise
   */

  async watch(what, ms, promise) {
    const wait = {what, ms, since: performance.now()};

    this.waits.add(wait);

    try {
      return await promise;
    } finally {
      this.waits.delete(wait);
    }
  }

  /**
   * Wait for the node for so long at most.
   * @throws when it takes longer.
   */

  async atMost(what, ms, promise) {
    let timer;

    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        reject(Object.assign(
          new Error(`${what} takes longer than ${ms / 1000} s`),
          {code: 'ETIMEDOUT'}));
      }, ms);
      timer.unref();
    });

    // A later failure has no reader.
    promise.catch(() => {});

    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  look() {
    const now = performance.now();
    let overdue = null;

    for (const {what, ms, since} of this.waits) {
      if (now - since >= ms) {
        overdue = `${what} takes longer than ${ms / 1000} s`;
        break;
      }
    }

    if (overdue === this.overdue)
      return;

    this.overdue = overdue;

    try {
      this.server.nodeOverdue(overdue);
    } catch (e) {
      ;
    }
  }
}

exports.NodeTimeouts = NodeTimeouts;
