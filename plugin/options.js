'use strict';

/*
 * Collects our options from hsd's configuration. What they mean, and whether
 * they are known at all, is judged by the native half.
 */

const fs = require('fs');

/**
 * Read all options named stratum-*, and those of stratum.conf.
 * @param {Config} config - the node's.
 * @returns {Object[]} {key, value, origin}, one for each key.
 */

exports.read = function read(config) {
  // hsd leaves its own file's lines out of a child unless asked for `data`;
  // stratum.conf, read over them, has the last word.
  const child = config.filter('stratum', {data: true});
  const named = child.str('config');
  const file = child.getFile('stratum.conf');

  // hsd skips a file that is not there: right for the default, not for a
  // name that somebody gave.
  if (named && !fs.existsSync(named))
    throw new Error(`failed to read ${named}: no such file`);

  try {
    child.open('stratum.conf');
  } catch (e) {
    throw new Error(`failed to read ${file}: ${e.message}`);
  }

  // hsd's order: flags over environment over files over what an embedding
  // program passed.
  const sources = [
    [child.options, 'file'],
    [child.data, 'file'],
    [child.env, 'environment'],
    [child.args, 'flag']
  ];

  const options = new Map();

  for (const [values, origin] of sources) {
    for (const key of Object.keys(values))
      options.set(key, {key, value: String(values[key]), origin});
  }

  options.delete('config');

  return Array.from(options.values());
};
