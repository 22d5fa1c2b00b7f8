'use strict';

/*
 * A plugin beside ours that breaks the path of a found block, as the
 * environment's HSTRATUM_WRONG_BLOCK says: the block has another `hash` than
 * its solution, other `bytes`, or a tree root against hsd's `rules`.
 */

const KINDS = {
  hash: block => block.version ^= 1,
  bytes: block => block.encode = () => Buffer.alloc(1),
  rules: () => {}
};

exports.id = 'wrong_block';
exports.init = ({miner}) => {
  const {createBlock} = miner;
  const kind = process.env.HSTRATUM_WRONG_BLOCK;

  miner.createBlock = async (...args) => {
    const attempt = await createBlock.apply(miner, args);

    if (kind === 'rules')
      attempt.treeRoot = Buffer.alloc(32, 1);

    attempt.commit = function commit(proof) {
      const block = this.constructor.prototype.commit.call(this, proof);
      KINDS[kind](block);
      return block;
    };

    return attempt;
  };

  return {open: async () => {}, close: async () => {}};
};
