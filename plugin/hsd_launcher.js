#!/usr/bin/env node

'use strict';

/*
 * The command `hsd` of a whole node and of `make run`. hsd reads the addresses
 * that blocks pay before it loads a plugin, and says of a wrong one "Encoding
 * failed.", with its stack: here the start ends with one line instead.
 */

const {createRequire} = require('module');
const hsdModules = require('./hsd_modules');

try {
  require('hsd/bin/hsd');
} catch (e) {
  const problem = addressError();

  if (!problem)
    throw e;

  console.error(`hstratum: ${problem}`);
  process.exit(1);
}

/** What is wrong with an address of hsd's options; null if nothing is. */

function addressError() {
  const load = createRequire(require.resolve('hsd/bin/hsd'));
  const Node = load('../lib/node/node');
  const options = {config: true, argv: true, env: true};
  let node;

  try {
    node = new Node('hsd', 'hsd.conf', 'debug.log', options);
  } catch (e) {
    // It is what hsd has said.
    return null;
  }

  try {
    hsdModules.checkAddresses(node, load('../lib/primitives/address'));
    return null;
  } catch (e) {
    return e.message;
  }
}
