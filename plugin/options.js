'use strict';

/*
 * Collects our options from hsd's configuration. The native half decides which
 * of them are known and what they mean.
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

  // hsd skips a file that is missing: right for the default, not for a name
  // that was given.
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

  const given = written(config, file);

  for (const [values, origin] of sources) {
    for (const key of Object.keys(values)) {
      // hsd leaves hyphens out; an error shows the name as it was typed.
      const typed = given.find((option) => {
        return option.origin === origin && bare(option.key) === key;
      });

      options.set(key, {
        key: typed ? typed.key : key,
        value: String(values[key]),
        origin
      });
    }
  }

  options.delete('config');

  // hsd ignores an option without a value, as an unset variable of a shell
  // leaves it: a pool whose password is empty would be open.
  const empty = given.filter(option => option.value === '');

  return [...options.values(), ...empty];
};

/**
 * Our options as they are typed in flags, environment and files.
 * @param {Config} config - the node's.
 * @param {String} file - the path of stratum.conf.
 * @returns {Object[]} {key, value, origin}, with hyphens in the key.
 */

function written(config, file) {
  const options = [];

  const add = (key, value, origin) => {
    if (bare(key) !== '')
      options.push({key, value: value.trim(), origin});
  };

  for (const arg of process.argv.slice(2)) {
    if (arg === '--')
      break;

    const flag = /^--stratum-?([^=]+)(=?)([^]*)$/.exec(arg);

    if (flag)
      add(flag[1], flag[2] ? flag[3] : 'true', 'flag');
  }

  for (const name of Object.keys(process.env)) {
    const variable = /^HSD_STRATUM_?([A-Z0-9_]+)$/.exec(name);

    if (variable) {
      const key = variable[1].toLowerCase().replace(/_/g, '-');
      add(key, process.env[name], 'environment');
    }
  }

  for (const [name, prefix] of [
    [config.getFile('hsd.conf'), 'stratum-?'],
    [file, '']
  ]) {
    const line = new RegExp(`^[ \\t]*${prefix}([a-z0-9-]+)[ \\t]*:(.*)$`, 'gm');

    for (const [, key, value] of text(name).matchAll(line))
      add(key, value, 'file');
  }

  return options;
}

function bare(key) {
  return key.replace(/-/g, '');
}

/** A file as hsd reads it. Errors are reported elsewhere. */

function text(name) {
  try {
    return fs.readFileSync(name, 'utf8')
      .replace(/^\ufeff/, '')
      .replace(/\r\n?/g, '\n')
      .replace(/\\\n/g, '');
  } catch (e) {
    return '';
  }
}
