'use strict';

/*
 * Drills of the path of a found block: a made-up solution is built as a found
 * one is, compared with the bytes that the spool would have, and verified by
 * hsd's rules except proof of work. It is given to no peer and not to the
 * chain.
 */

const {errorText} = require('./error_text');

class Drill {
  constructor(server, foundBlocks, verifier, logger) {
    this.server = server;
    this.foundBlocks = foundBlocks;
    this.verifier = verifier;
    this.logger = logger;
  }

  /**
   * Report the outcome of a drill to the native half. Never rejects.
   * @param {Object} solution - with the bytes that the spool would have.
   */

  async run(solution) {
    let outcome = 'broken';
    let reason = '';

    try {
      outcome = await this.check(solution);
    } catch (e) {
      reason = errorText(e);
    }

    try {
      this.server.drilled(outcome, reason);
    } catch (e) {
      this.logger.error('failed to report a drill: %s', errorText(e));
    }
  }

  async check({raw, drill, ...solution}) {
    const begun = performance.now();
    const block = this.foundBlocks.build(solution);
    const hash = block.hash();

    if (!hash.equals(solution.hash))
      throw new Error(`the node built ${hash.toString('hex')} instead`);

    const built = performance.now();

    if (!block.encode().equals(raw))
      throw new Error('the spool would have another block than the node');

    const compared = performance.now();
    const {isValid, reason, failure} = await this.verifier.verifyBlock(
      () => block, block.prevBlock);

    if (reason)
      throw new Error(`the node would refuse it: ${reason}`);

    if (failure)
      throw new Error(`the node failed to verify it: ${failure}`);

    if (!isValid)
      return 'interrupted';

    const {length} = block.txs;

    this.logger.info('block path checked: %d %s, %d bytes; checked '
      + 'in %s ms, encoded in %s ms, built in %s ms, compared in %s ms, '
      + 'verified in %s ms', length,
    length === 1 ? 'transaction' : 'transactions', raw.length, ms(drill.checkMs),
    ms(drill.encodeMs), ms(built - begun), ms(compared - built),
    ms(performance.now() - compared));

    return 'works';
  }
}

function ms(value) {
  return value.toFixed(value < 1 ? 2 : 0);
}

exports.Drill = Drill;
