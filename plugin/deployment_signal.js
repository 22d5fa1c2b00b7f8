'use strict';

/*
 * Votes of the pool's blocks: option `signal` clears bits of the version that
 * hsd makes, and the native half is told of the network's deployments.
 */

const {errorText} = require('./error_text');

/** hsd lib/blockchain/common.js, thresholdStates, named as in its RPC. */
const STATES = ['defined', 'started', 'locked_in', 'active', 'failed'];

/** States for which hsd sets a bit (lib/blockchain/chain.js). */
const SIGNALLED = ['started', 'locked_in'];

// After a new tip the node has more urgent work.
const TELL_MS = 1000;

/** Time limit of the node's answer about a deployment. */
const STATE_MS = 10000;

class DeploymentSignal {
  constructor(node, server, waits, logger) {
    this.node = node;
    this.server = server;
    this.waits = waits;
    this.logger = logger;
    this.told = [];          // {name, bit, state, signalled}
    this.attempt = null;     // the template whose version is to be told
    this.timer = null;
    this.busy = false;
  }

  /**
   * Clear the bits that the operator does not want in a template's version.
   */

  apply(attempt) {
    attempt.version = this.clear(attempt.version);
    this.attempt = attempt;

    if (!this.timer) {
      this.timer = setTimeout(() => {
        this.timer = null;
        this.tell().catch((e) => {
          this.logger.error('failed to look at deployments: %s', errorText(e));
        });
      }, TELL_MS);
      this.timer.unref();
    }
  }

  /** A version without those bits. */

  clear(version) {
    return (version & ~this.server.clearedBits) >>> 0;
  }

  /** Report the states of the network's deployments at the tip. */

  async tell() {
    const {chain, network} = this.node;
    const {version, prevBlock} = this.attempt;
    const {tip} = chain;

    // Another template follows.
    if (this.busy || !prevBlock.equals(tip.hash))
      return;

    this.busy = true;

    try {
      const all = [];

      for (const deployment of network.deploys) {
        const {name, bit} = deployment;
        const state = STATES[await this.waits.atMost('getState', STATE_MS,
          chain.getState(tip, deployment))];

        all.push({name, bit, state, signalled: SIGNALLED.includes(state)
          && (version >>> bit & 1) === 1});
      }

      this.told = all;
      this.server.tellDeployments(all);
    } finally {
      this.busy = false;
    }
  }
}

exports.DeploymentSignal = DeploymentSignal;
