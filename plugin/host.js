'use strict';

/*
 * The hsd that runs us: is it one we can serve, and where are its modules.
 * A second copy of hsd beside the running one has other classes, so that
 * nothing is ever required by hsd's name.
 */

const {createRequire} = require('module');

const HSD_MIN = [8, 0, 0];

/**
 * Find the modules of the running node.
 * @param {Object} node
 * @returns {Object} what the plugin needs of them.
 * @throws where the node can not serve miners.
 */

exports.inspect = function inspect(node) {
  const load = loader(node);
  const {version} = load('../../package.json');

  if (isOlder(version))
    throw new Error(`hstratum needs hsd ${HSD_MIN.join('.')} or newer, `
      + `this is hsd ${version}`);

  if (node.spv || !node.miner || !node.mempool)
    throw new Error('hstratum needs a full node: '
      + 'an SPV node has no transactions to mine');

  return {
    version,
    Block: load('../primitives/block'),
    BlockTxnPacket: load('../net/packets').BlockTxnPacket,
    packetTypes: load('../net/packets').types,
    TXResponse: load('../net/bip152').TXResponse,
    BufferMap: load('buffer-map').BufferMap
  };
};

function loader(node) {
  // Somebody may have derived a class from FullNode: look at its parents too.
  for (let type = node.constructor; type; type = Object.getPrototypeOf(type)) {
    for (const module of Object.values(require.cache)) {
      if (module && module.exports === type)
        return createRequire(module.filename);
    }
  }

  throw new Error('failed to find the modules of the running hsd');
}

function isOlder(version) {
  const parts = version.split(/[.-]/).map(Number);

  for (let i = 0; i < HSD_MIN.length; i++) {
    if (parts[i] !== HSD_MIN[i])
      return parts[i] < HSD_MIN[i];
  }

  return false;
}
