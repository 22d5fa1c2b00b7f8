#!/usr/bin/env node

'use strict';

/*
 * The command `hstratum` of an npm installation: runs the binary of this
 * platform, passes signals on, and ends as it ends.
 */

const {spawn} = require('child_process');
const {find} = require('./platform_package');

let file;

try {
  file = find('hstratum');
} catch (e) {
  console.error(`hstratum: ${e.message}`);
  process.exit(1);
}

const child = spawn(file, process.argv.slice(2), {stdio: 'inherit'});

// A terminal sends its signals to both: this process ends with its child.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => child.kill(signal));

child.on('error', (e) => {
  console.error(`hstratum: failed to run ${file}: ${e.message}`);
  process.exit(1);
});

child.on('close', (code, signal) => {
  if (signal) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  } else {
    process.exitCode = code;
  }
});
