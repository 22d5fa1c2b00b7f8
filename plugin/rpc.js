'use strict';

/*
 * Calls that hstratum adds to the node's RPC. What goes wrong is told to the
 * caller with the codes that hsd uses; nothing else may be thrown.
 */

const MISC_ERROR = -1;
const INVALID_ADDRESS_OR_KEY = -5;
const DATABASE_ERROR = -20;

/**
 * Add the calls.
 * @param {Object} rpc - the node's.
 * @param {Object} server - the addon's.
 */

exports.add = function add(rpc, server) {
  rpc.add('setstratumaddress', async (args, help) => {
    if (help || args.length !== 2)
      throw new RPCError(MISC_ERROR, 'setstratumaddress "account" "address"');

    const [account, address] = args;

    if (typeof account !== 'string' || typeof address !== 'string')
      throw new RPCError(MISC_ERROR, 'account and address must be strings');

    let stored;

    try {
      stored = server.setAddress(account, address);
    } catch (e) {
      throw new RPCError(INVALID_ADDRESS_OR_KEY, e.message);
    }

    try {
      await stored;
    } catch (e) {
      throw new RPCError(DATABASE_ERROR, e.message);
    }

    return true;
  });
};

/** What hsd answers with its code and message (bweb lib/rpc.js, getCode). */

class RPCError extends Error {
  constructor(code, message) {
    super(message);
    this.type = 'RPCError';
    this.code = code;
  }
}
