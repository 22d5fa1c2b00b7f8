'use strict';

/*
 * A plugin beside ours that kills the node at one exact call of its HTTP, its
 * wallet's HTTP or its RPC. The file `kill` in the node's prefix says at which:
 * {pattern, when}. The pattern is for `METHOD path` or `RPC method`; `before`
 * is before the call is handled, `after` once it is.
 */

const fs = require('fs');
const path = require('path');

exports.id = 'killing';
exports.init = (node) => {
  const file = path.join(node.config.prefix, 'kill');

  const check = (text, when) => {
    let trap;

    try {
      trap = JSON.parse(fs.readFileSync(file, 'utf8'));
    } catch (e) {
      return;
    }

    if (trap.when === when && new RegExp(trap.pattern).test(text))
      process.kill(process.pid, 'SIGKILL');
  };

  const watch = (server) => {
    server.prependListener('request', (req, res) => {
      const text = `${req.method} ${req.url}`;
      check(text, 'before');
      res.once('finish', () => check(text, 'after'));
    });
  };

  const {rpc} = node;
  const {execute} = rpc;

  rpc.execute = async function execute_(json, help) {
    const text = `RPC ${json.method}`;
    check(text, 'before');
    const result = await execute.call(this, json, help);
    check(text, 'after');
    return result;
  };

  return {
    async open() {
      watch(node.http.http);
      watch(node.get('walletdb').http.http);
    },
    async close() {}
  };
};
