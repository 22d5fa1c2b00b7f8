'use strict';

/*
 * A plugin beside ours after which createBlock never returns, once there is a
 * file `stuck` in the node's prefix.
 */

const fs = require('fs');
const path = require('path');

exports.id = 'stuck';
exports.init = (node) => {
  const {miner} = node;
  const {createBlock} = miner;
  const file = path.join(node.config.prefix, '..', 'stuck');
  const own = path.join(node.config.prefix, 'stuck');

  miner.createBlock = (...args) => {
    if (fs.existsSync(file) || fs.existsSync(own))
      return new Promise(() => {});

    return createBlock.apply(miner, args);
  };

  return {open: async () => {}, close: async () => {}};
};
