'use strict';

/*
 * The path of the native files: beside this one after `make build`, otherwise
 * in the package for this platform, which npm installs with ours.
 */

const fs = require('fs');
const path = require('path');

/** This platform, as the packages are named: linux-x64-gnu. */

exports.platform = function platform() {
  const {platform, arch} = process;

  return platform === 'linux' ? `linux-${arch}-${libc()}`
    : `${platform}-${arch}`;
};

/**
 * The path of a native file.
 * @param {String} name - hstratum.node or hstratum.
 * @throws when there is none for this platform.
 */

exports.find = function find(name) {
  const built = path.join(__dirname, name);

  if (fs.existsSync(built))
    return built;

  const platform = exports.platform();

  try {
    return require.resolve(`@hstratum/${platform}/${name}`);
  } catch (e) {
    throw new Error(`no ${name} for ${platform}: install the package `
      + `@hstratum/${platform} of the same version without --omit=optional, `
      + 'or build hstratum from its source with make build');
  }
};

function libc() {
  const {header} = process.report.getReport();

  return header.glibcVersionRuntime ? 'gnu' : 'musl';
}
