'use strict';

const {find} = require('./platform_package');

/**
 * The native half. Loaded when the plugin opens, not when hsd requires it:
 * hsd prints an error of open() as one line, one of require() as a trace.
 */

exports.load = function load() {
  const file = find('hstratum.node');

  try {
    return require(file);
  } catch (e) {
    const [line] = String(e.message).split('\n');
    throw new Error(`failed to load ${file}: ${line}`);
  }
};
