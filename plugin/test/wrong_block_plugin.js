'use strict';

/*
 * A plugin beside ours whose templates become other blocks than they say, as
 * long as there is the file that HSTRATUM_WRONG_BLOCK names.
 */

const fs = require('fs');

exports.id = 'wrong_block';
exports.init = ({miner}) => {
  const {createBlock} = miner;

  miner.createBlock = async (...args) => {
    const attempt = await createBlock.apply(miner, args);

    if (fs.existsSync(process.env.HSTRATUM_WRONG_BLOCK)) {
      attempt.commit = function commit(proof) {
        const block = this.constructor.prototype.commit.call(this, proof);
        block.version ^= 1;
        return block;
      };
    }

    return attempt;
  };

  return {open: async () => {}, close: async () => {}};
};
