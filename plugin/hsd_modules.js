'use strict';

/*
 * Checks of the hsd that runs the plugin, and access to its modules. A second
 * copy of hsd beside the running one has other classes, so nothing is ever
 * required by hsd's name.
 */

const {createRequire} = require('module');

/** The oldest version that `make compat` has shown to work. */
const HSD_MIN = [6, 0, 0];

/** The first version with an event when the node is open. */
const HSD_TELLS_OPEN = [7, 0, 0];
const OPEN_POLL_MS = 50;

/**
 * Find the modules of the running node.
 * @param {Object} node
 * @returns {Object} the modules that the plugin needs.
 * @throws when the node cannot serve miners.
 */

exports.inspect = function inspect(node) {
  const load = loader(node);
  const {version} = load('../../package.json');

  if (isOlder(version, HSD_MIN))
    throw new Error(`hstratum needs hsd ${HSD_MIN.join('.')} or newer, `
      + `this is hsd ${version}`);

  if (node.spv || !node.miner || !node.mempool)
    throw new Error('hstratum needs a full node: '
      + 'an SPV node has no transactions to mine');

  exports.checkAddresses(node, load('../primitives/address'));

  return {
    version,
    Block: load('../primitives/block'),
    BlockTxnPacket: load('../net/packets').BlockTxnPacket,
    packetTypes: load('../net/packets').types,
    NetAddress: load('../net/netaddress'),
    TXResponse: load('../net/bip152').TXResponse,
    BufferMap: load('buffer-map').BufferMap,
    blake2b: load('bcrypto/lib/blake2b'),
    chainFlags: load('../blockchain/common').flags,
    consensus: load('../protocol/consensus')
  };
};

/**
 * Call back once the node is open, with its wallet's address where the miner
 * is paid there. An older hsd has no event for that and is polled.
 * @param {Object} node
 * @param {String} version - of that hsd.
 * @param {Function} callback
 */

exports.onOpen = function onOpen(node, version, callback) {
  if (!isOlder(version, HSD_TELLS_OPEN)) {
    node.once('open', callback);
    return;
  }

  const timer = setInterval(() => {
    const waitsForWallet = node.has('walletdb')
      && node.miner.addresses.length === 0;

    if (node.startTime > 0 && !waitsForWallet) {
      clearInterval(timer);
      callback();
    }
  }, OPEN_POLL_MS);

  node.once('closed', () => clearInterval(timer));
};

/**
 * The HTTP server of the node, or of its wallet plugin, as a client in this
 * process reaches it.
 * @param {Object|null} owner
 * @returns {Object|undefined} {url, key}; without a key where none is asked
 * for. The native half takes null for a value.
 */

exports.httpOf = function httpOf(owner) {
  const options = owner && owner.http && owner.http.options;

  if (!options)
    return undefined;

  const {host, port, ssl, noAuth, apiKey} = options;
  const any = {'0.0.0.0': '127.0.0.1', '::': '::1'};
  const name = any[host] || host;

  return {
    url: `${ssl ? 'https' : 'http'}://`
      + `${name.includes(':') ? `[${name}]` : name}:${port}`,
    key: noAuth ? undefined : apiKey
  };
};

/**
 * Refuse addresses of other networks, of which hsd takes one and pays its key
 * here, and what is no address.
 * @param {Object} node
 * @param {Function} Address - hsd's.
 * @throws with the option, the address and what is wrong.
 */

exports.checkAddresses = function checkAddresses(node, Address) {
  const {addressPrefix, type} = node.network;

  for (const item of node.config.array('coinbase-address', [])) {
    const address = String(item);

    if (!address.toLowerCase().startsWith(`${addressPrefix}1`))
      throw new Error(`coinbase-address: ${address} is not an address of `
        + `${type}, whose begin with ${addressPrefix}1`);

    try {
      Address.fromString(address);
    } catch (e) {
      throw new Error(`coinbase-address: ${address} is not an address: `
        + 'a character is wrong or missing');
    }
  }
};

/**
 * Close the parts that hsd has opened before plugins, after a start that
 * failed: hsd ends the process without it, and the next start would take the
 * tree's lock for that of a live node for four seconds.
 * @param {Object} node
 */

exports.closeChain = async function closeChain(node) {
  const {pool, miner, mempool, chain, blocks} = node;

  // An SPV node has neither miner nor mempool.
  for (const part of [pool, miner, mempool, chain, blocks]) {
    if (part)
      await part.close();
  }
};

function loader(node) {
  // A program may have derived a class from FullNode: look at its parents too.
  for (let type = node.constructor; type; type = Object.getPrototypeOf(type)) {
    for (const module of Object.values(require.cache)) {
      if (module && module.exports === type)
        return createRequire(module.filename);
    }
  }

  throw new Error('failed to find the modules of the running hsd');
}

function isOlder(version, than) {
  const parts = version.split(/[.-]/).map(Number);

  for (let i = 0; i < than.length; i++) {
    if (parts[i] !== than[i])
      return parts[i] < than[i];
  }

  return false;
}
