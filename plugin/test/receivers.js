'use strict';

/*
 * Who takes messages to miners, on this machine: a mail server, and what
 * stands for Telegram's Bot API and for a server of ntfy.
 */

const http = require('http');
const {once} = require('events');
const {SMTPServer} = require('smtp-server');

/** Take mail; `messages` are {to, subject, text}. */

exports.startMail = async function startMail(t, port = 0) {
  const messages = [];
  const server = new SMTPServer({
    authOptional: true, disabledCommands: ['STARTTLS'], closeTimeout: 100,
    onData(stream, session, done) {
      const chunks = [];

      stream.on('data', chunk => chunks.push(chunk));
      stream.on('end', () => {
        const to = session.envelope.rcptTo.map(one => one.address);

        messages.push({to, ...readMail(Buffer.concat(chunks).toString())});
        done();
      });
    },
    onRcptTo({address}, session, done) {
      const isUnknown = address.startsWith('nobody@');

      done(isUnknown ? Object.assign(new Error('no such mailbox'),
        {responseCode: 550}) : null);
    }
  });

  server.on('error', () => {});
  server.listen(port, '127.0.0.1');
  await once(server.server, 'listening');

  const stop = () => new Promise(resolve => server.close(resolve));

  t.after(stop);

  return {messages, stop, port: server.server.address().port};
};

/** The subject and the text of a mail of one part. */

function readMail(raw) {
  const end = raw.indexOf('\r\n\r\n');
  const head = raw.slice(0, end).replace(/\r\n[ \t]+/g, ' ');
  const field = (name) => {
    const line = new RegExp(`^${name}: (.*)$`, 'im').exec(head);
    return line ? line[1] : '';
  };
  const body = raw.slice(end + 4);
  const text = {
    'base64': () => Buffer.from(body, 'base64').toString(),
    'quoted-printable': () => fromQuoted(body.replace(/=\r\n/g, ''))
  }[field('Content-Transfer-Encoding').toLowerCase()];
  const subject = field('Subject')
    .replace(/\?=\s+=\?utf-8\?b\?/gi, '')
    .replace(/=\?utf-8\?b\?([^?]*)\?=/gi,
      (_, word) => Buffer.from(word, 'base64').toString());

  return {head, subject, text: text ? text() : body};
}

function fromQuoted(text) {
  const bytes = text.replace(/=([0-9A-F]{2})/g,
    (_, hex) => String.fromCharCode(parseInt(hex, 16)));

  return Buffer.from(bytes, 'latin1').toString();
}

/**
 * Take JSON; `messages` are {path, ...body}. `answer` makes the status of an
 * answer.
 */

exports.startHttp = async function startHttp(t, answer = () => 200) {
  const messages = [];
  const server = http.createServer(async (req, res) => {
    const chunks = [];

    for await (const chunk of req)
      chunks.push(chunk);

    const message = {path: req.url, ...JSON.parse(Buffer.concat(chunks))};

    res.writeHead(answer(message), {'Content-Type': 'application/json'});
    res.end('{}');

    if (res.statusCode === 200)
      messages.push(message);
  });

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());

  return {messages, port: server.address().port};
};
