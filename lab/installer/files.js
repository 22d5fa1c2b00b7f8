'use strict';

/* Serves the files of a directory on a port of this machine. */

const fs = require('fs');
const http = require('http');
const path = require('path');

const [directory, port] = process.argv.slice(2);

http.createServer((req, res) => {
  const stream = fs.createReadStream(path.join(directory, path.basename(req.url)));
  stream.on('error', () => res.writeHead(404).end());
  stream.pipe(res);
}).listen(Number(port), '127.0.0.1');
