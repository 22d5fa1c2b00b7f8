'use strict';

/*
 * The delay of the node's event loop: measured by node itself, reported to the
 * native half, which shows it as a metric.
 */

const {errorText} = require('./error_text');

const {monitorEventLoopDelay} = require('perf_hooks');

const RESOLUTION_MS = 20;
const TELL_MS = 10000;

class Lag {
  constructor(server, logger) {
    this.server = server;
    this.logger = logger;
    this.delays = monitorEventLoopDelay({resolution: RESOLUTION_MS});
    this.delays.enable();
    this.timer = setInterval(() => this.tell(), TELL_MS);
    this.timer.unref();
  }

  tell() {
    try {
      const {mean, max} = this.delays;

      // Nothing was measured since the last report.
      if (!this.delays.count)
        return;

      this.server.nodeLag(late(mean), late(this.delays.percentile(99)),
        late(max));
      this.delays.reset();
    } catch (e) {
      this.logger.error('failed to measure the event loop: %s', errorText(e));
    }
  }

  stop() {
    clearInterval(this.timer);
    this.delays.disable();
  }
}

/**
 * Delay in seconds, from nanoseconds between two samples.
 */

function late(ns) {
  return Math.max(0, ns / 1e9 - RESOLUTION_MS / 1000);
}

exports.Lag = Lag;
