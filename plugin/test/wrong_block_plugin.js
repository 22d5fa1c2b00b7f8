'use strict';

/*
 * A plugin beside ours that breaks the path of a found block, as the
 * environment's HSTRATUM_WRONG_BLOCK says: the block has another `hash` than
 * its solution, other `bytes`, or a tree root against hsd's `rules`; or `once`
 * the chain fails when a block is added, or `never` answers.
 */

const path = require('path');
const {HSD_DIR} = require('./harness');
const {BlockTemplate} = require(path.join(HSD_DIR, 'lib/mining/template'));

const KINDS = {
  hash: block => block.version ^= 1,
  bytes: block => block.encode = () => Buffer.alloc(1),
  rules: () => {},
  once: () => {},
  never: () => {}
};

exports.id = 'wrong_block';
exports.init = ({chain, miner}) => {
  const {createBlock} = miner;
  const {commit} = BlockTemplate.prototype;
  const kind = process.env.HSTRATUM_WRONG_BLOCK;

  BlockTemplate.prototype.commit = function changed(proof) {
    const block = commit.call(this, proof);
    KINDS[kind](block);
    return block;
  };

  if (kind === 'rules') {
    miner.createBlock = async (...args) => {
      return Object.assign(await createBlock.apply(miner, args),
        {treeRoot: Buffer.alloc(32, 1)});
    };
  }

  if (kind === 'once') {
    const {add} = chain;

    chain.add = async () => {
      chain.add = add;
      throw new Error('planted');
    };
  }

  if (kind === 'never')
    chain.add = () => new Promise(() => {});

  return {open: async () => {}, close: async () => {}};
};
