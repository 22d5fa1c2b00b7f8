#!/usr/bin/env node
'use strict';

/*
 * Records the conversation of a miner and a server, in the form of
 * crates/core/tests/recordings: a proxy between the two.
 *
 *   scripts/record.js 3009 127.0.0.1:3008 > miner.txt
 */

const net = require('net');

const [port, target] = process.argv.slice(2);
const [, host, targetPort] = /^(.+):(\d+)$/.exec(target || '') || [];

if (!/^\d+$/.test(port || '') || !host) {
  console.error('usage: record.js PORT HOST:PORT > FILE');
  process.exit(1);
}

let connections = 0;
let last = Date.now();

function pass(from, to, mark, name) {
  let rest = '';

  from.setNoDelay(true);
  from.on('data', (bytes) => {
    to.write(bytes);

    const waited = (Date.now() - last) / 1000;

    if (waited >= 0.3)
      console.log(`@ +${waited.toFixed(1)}s`);

    last = Date.now();

    const lines = (rest + bytes).split('\n');
    rest = lines.pop();

    if (lines.length > 1)
      console.log(`^ one segment: the next ${lines.length} lines`);

    for (const line of lines)
      console.log(`${mark} ${line}`);
  });

  from.on('error', () => to.resetAndDestroy());
  from.on('end', () => {
    console.log(`# The ${name} closes the connection.`);
    to.end();
  });
}

net.createServer((miner) => {
  const server = net.connect(targetPort, host);

  console.log(`# Connection ${++connections}`);
  pass(miner, server, '>', 'miner');
  pass(server, miner, '<', 'server');
}).listen(port, '127.0.0.1', () => {
  console.error(`point the miner at 127.0.0.1:${port}; Ctrl-C ends the recording`);
});
