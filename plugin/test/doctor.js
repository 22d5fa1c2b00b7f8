'use strict';

/*
 * `hstratum doctor` of the release build.
 */

const {execFile} = require('child_process');
const path = require('path');

const BINARY = path.join(__dirname, '..', '..', 'target', 'release',
  'hstratum');

/** {code, findings, problems, warnings} */

async function examine(node, args = [], env = {}) {
  const {code, stdout} = await run(['doctor', '--network=regtest',
    `--prefix=${node.prefix}`, '--json', ...args], env);

  return {code, ...JSON.parse(stdout)};
}

/** The problems of a node that runs with the harness's flags. */

async function problems(node) {
  const {findings} = await examine(node,
    [`--node-url=http://127.0.0.1:${node.ports.http}`],
    {HSTRATUM_NODE_API_KEY: 'test'});

  return findings.filter(({severity}) => severity === 'problem');
}

function run(args, env = {}) {
  const clean = {...process.env, ...env};

  for (const key of Object.keys(clean)) {
    if (key.startsWith('HSD_') && !(key in env))
      delete clean[key];
  }

  return new Promise((resolve, reject) => {
    execFile(BINARY, args, {env: clean}, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number')
        return reject(error);
      return resolve({code: error ? error.code : 0, stdout, stderr});
    });
  });
}

module.exports = {examine, problems, run};
