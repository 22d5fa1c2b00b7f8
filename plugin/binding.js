'use strict';

const path = require('path');

const FILE = path.join(__dirname, 'hstratum.node');

/**
 * The native half. Loaded when the plugin opens, not when hsd requires it:
 * hsd prints an error of open() as one line, one of require() as a trace.
 */

exports.load = function load() {
  try {
    return require(FILE);
  } catch (e) {
    const [line] = String(e.message).split('\n');
    throw new Error(`failed to load ${FILE}: ${line}`);
  }
};
