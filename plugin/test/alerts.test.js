'use strict';

/*
 * What miners are told by mail, Telegram and ntfy, and what they choose on the
 * dashboard.
 */

const assert = require('assert');
const {test} = require('node:test');
const {launch, open} = require('./browser');
const {startNode, waitFor} = require('./harness');
const {Miner} = require('./miner');
const {startHttp, startMail} = require('./receivers');

const PASSWORD = 'alices password';

/** A node that tells miners of themselves, where alice mines. */

async function startPool(t, options = {}) {
  const mail = await startMail(t);
  const telegram = await startHttp(t);
  const ntfy = await startHttp(t);
  const node = await startNode(t, {...options, args: ['--stratum-auth=users',
    '--stratum-server-id=pool', `--stratum-smtp=smtp://127.0.0.1:${mail.port}`,
    '--stratum-smtp-from=The pool <pool@example.com>',
    `--stratum-telegram=http://127.0.0.1:${telegram.port}/bot1:token`,
    `--stratum-ntfy=http://127.0.0.1:${ntfy.port}`]});

  for (const name of ['alice', 'bob'])
    await node.rpc('addstratumuser', [name, `${name}s password`]);

  return {node, mail, telegram, ntfy};
}

/** Whoever has signed in. */

class Owner {
  static async signIn(node, name = 'alice') {
    const owner = new Owner();

    owner.url = `http://127.0.0.1:${node.ports.dashboard}/api/v1`;

    const res = await fetch(`${owner.url}/session`, {
      method: 'POST', headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({name, password: `${name}s password`})
    });
    const {csrf_token: token} = await res.json();

    owner.headers = {
      'Content-Type': 'application/json', 'X-CSRF-Token': token,
      'Cookie': res.headers.get('set-cookie').split(';')[0]
    };

    return owner;
  }

  async call(method, path = '', body = undefined) {
    const res = await fetch(`${this.url}/me/alerts${path}`, {
      method, headers: this.headers, body: body && JSON.stringify(body)
    });
    const text = await res.text();

    return {status: res.status, ...(text ? JSON.parse(text) : {})};
  }

  /** Confirm a contact with the code that `taken` receives. */

  async add(way, to, taken) {
    const path = `/contacts/${way}`;

    assert.deepStrictEqual(await this.call('PUT', path, {to}), {status: 204});

    const code = codeIn(taken.messages.pop());

    assert.deepStrictEqual(await this.call('POST', path, {code}),
      {status: 204});
  }
}

function codeIn(message) {
  return /(?:Code: |验证码：)(\d{8})/.exec(message.text || message.message)[1];
}

function next(what, taken, node) {
  return waitFor(what, () => taken.messages.shift(), {node, ms: 60e3});
}

test('each way takes what happens, together, and after a restart', async (t) => {
  const {node, mail, telegram, ntfy} = await startPool(t);
  const owner = await Owner.signIn(node);
  const topic = `127.0.0.1:${ntfy.port}/alice-topic`;

  await owner.add('mail', 'alice@example.com', mail);
  await owner.add('telegram', '-100200300', telegram);
  await owner.add('ntfy', 'alice-topic', ntfy);

  const {contacts, ways} = await owner.call('GET');

  assert.deepStrictEqual(ways, ['mail', 'telegram', 'ntfy']);
  assert.deepStrictEqual(contacts.map(({way, to}) => [way, to]),
    [['mail', 'alice@example.com'], ['ntfy', topic],
      ['telegram', '-100200300']]);

  // A contact hears of those that come after it.
  const letter = await next('the mail', mail, node);

  assert.deepStrictEqual(letter.to, ['alice@example.com']);
  assert.match(letter.head, /^From: "?The pool"? <pool@example\.com>$/m);
  assert.match(letter.head, /^Content-Type: text\/plain/m);
  assert.match(letter.text, /^Account alice at pool:\s/);
  assert.match(letter.text, /- Alerts go to -100200300 \(telegram\) from now on/);
  assert.match(letter.text, /alice-topic \(ntfy\) from now on/);
  assert.match(letter.subject, /^pool: \d alerts for alice$/);

  const chat = await next('the chat', telegram, node);

  assert.strictEqual(chat.path, '/bot1:token/sendMessage');
  assert.strictEqual(chat.chat_id, '-100200300');
  assert.strictEqual(chat.parse_mode, undefined);
  assert.match(chat.text, /alice-topic \(ntfy\)/);

  // What happened before the process ended, after it has come back.
  const miner = await Miner.start(t, node, 'alice.rig', PASSWORD);
  const {hash} = await miner.submit('alice.rig');

  await node.waitTip(hash);
  await Owner.signIn(node);
  await waitFor('the alerts in the ledger', async () => {
    const {contacts: now} = await owner.call('GET');
    return now.find(({way}) => way === 'telegram').waiting >= 2;
  }, {node, ms: 60e3});
  await node.restart();

  const told = await next('ntfy', ntfy, node);

  assert.strictEqual(told.path, '/');
  assert.strictEqual(told.topic, 'alice-topic');
  assert.match(told.message, new RegExp(`found block 1: ${hash}`));
  assert.match(told.message, /signed in to the dashboard from 127\.0\.0\.1/);
  assert.deepStrictEqual([mail.messages, telegram.messages, ntfy.messages],
    [[], [], []], 'not again within ten minutes');
});

test('contacts are confirmed, of one account, and none is an address of the '
  + 'network', async (t) => {
  const {node, mail} = await startPool(t);
  const owner = await Owner.signIn(node);
  const bob = await Owner.signIn(node, 'bob');
  const ask = to => owner.call('PUT', '/contacts/mail', {to});
  const wrong = async (way, to, error) => {
    const answer = await owner.call('PUT', `/contacts/${way}`, {to});
    assert.deepStrictEqual(answer, {status: 400, error}, to);
  };

  await wrong('mail', 'alice', 'to: expected a mail address');
  await wrong('mail', 'root@localhost', 'to: expected a mail address');
  await wrong('mail', 'a@b.c\r\nBcc: x@y.z', 'to: expected a mail address');
  await wrong('telegram', '@alice', 'to: expected a chat\'s number');
  await wrong('ntfy', 'http://127.0.0.1/x',
    `to: the host must be ${/127[\d.:]+/.exec(node.options.args.at(-1))[0]}`);
  assert.strictEqual((await owner.call('PUT', '/contacts/pigeon',
    {to: 'x'})).status, 404);
  assert.deepStrictEqual(await ask('nobody@example.com'), {
    status: 502, error: 'the code could not be sent: refused: 550'
  });

  assert.deepStrictEqual(await ask('alice@example.com'), {status: 204});

  const code = codeIn(mail.messages.pop());
  const confirm = (who, text) => who.call('POST', '/contacts/mail',
    {code: text});

  assert.deepStrictEqual(await confirm(bob, code), {status: 409,
    error: 'there is no code to confirm: have one sent'});

  const other = code === '00000000' ? '00000001' : '00000000';

  for (let tries = 1; tries < 5; tries++)
    assert.strictEqual((await confirm(owner, other)).status, 409);

  assert.strictEqual((await confirm(owner, other)).status, 429);
  assert.strictEqual((await confirm(owner, code)).status, 409, 'guessed');
  assert.deepStrictEqual((await owner.call('GET')).contacts, []);

  // Nobody's mailbox is filled with codes.
  await ask('alice@example.com');
  await ask('alice@example.com');
  assert.strictEqual((await ask('alice@example.com')).status, 429);
  assert.strictEqual((await bob.call('PUT', '/contacts/mail',
    {to: 'alice@example.com'})).status, 429);

  // Who turns something off is told of that.
  mail.messages.length = 0;
  await owner.add('mail', 'old@example.com', mail);

  const {settings} = await owner.call('GET');

  assert.strictEqual((await owner.call('PUT', '',
    {...settings, silent_minutes: 1})).status, 400);
  assert.deepStrictEqual(await owner.call('PUT', '',
    {...settings, changes: false}), {status: 204});
  assert.deepStrictEqual((await owner.call('GET')).settings,
    {...settings, changes: false});

  const {to, text} = await next('the mail', mail, node);

  assert.deepStrictEqual(to, ['old@example.com']);
  assert.match(text, /Other alerts were chosen/);
  assert.deepStrictEqual((await bob.call('GET')).contacts, []);
});

test('a receiver that is away is said on the page, and told later',
  async (t) => {
    const {node, mail} = await startPool(t);
    const owner = await Owner.signIn(node);
    const {port} = mail;

    await owner.add('mail', 'alice@example.com', mail);
    await mail.stop();
    await Owner.signIn(node);

    const failure = await waitFor('the failure', async () => {
      const {contacts: [contact]} = await owner.call('GET');
      return contact.failure;
    }, {node, ms: 60e3});

    assert.strictEqual(failure, 'the mail server does not answer');
    assert.ok(node.lines.some(({text}) => {
      return /alerts by mail: a message was not taken: .*refused/.test(text);
    }));

    const again = await startMail(t, port);
    const {text} = await next('the mail', again, node);

    assert.match(text, /signed in to the dashboard/);

    // It is written down after the mail was taken.
    await waitFor('the end of the failure', async () => {
      const {contacts: [contact]} = await owner.call('GET');
      return contact.failure === null;
    }, {node});
  });

test('a miner sets its alerts on a phone, in both languages', async (t) => {
  const {node, mail} = await startPool(t);
  const miner = await Miner.start(t, node, 'alice.rig', PASSWORD);
  const browser = await launch(t);

  await miner.submit('alice.rig');

  for (const [locale, texts] of [
    ['en-US', {account: 'Account', password: 'Password', signIn: 'Sign in',
      mail: 'Mail', to: 'Mail address', send: 'Send a code', code: 'Code',
      confirm: 'Confirm', set: 'Set the alerts', remove: 'Remove',
      drop: /The hashrate has fallen/}],
    ['zh-CN', {account: '账户', password: '密码', signIn: '登录', mail: '邮件',
      to: '邮箱地址', send: '发送验证码', code: '验证码', confirm: '确认',
      set: '保存提醒设置', remove: '移除', drop: /算力下降/}]
  ]) {
    const page = await open(browser, node, '/sign-in',
      {locale, viewport: {width: 390, height: 844}});
    const press = name => page.getByRole('button', {name, exact: true})
      .first().click();
    const field = label => page.locator('#alerts')
      .getByLabel(label, {exact: typeof label === 'string'}).first();
    const to = `alice-${locale}@example.com`;

    await page.getByLabel(texts.account, {exact: true}).first().fill('alice');
    await page.getByLabel(texts.password, {exact: true}).first().fill(PASSWORD);
    await press(texts.signIn);

    await page.locator('#alerts summary').first().click();
    await field(texts.to).fill(to);
    await press(texts.send);

    const code = codeIn(await next('the code', mail, node));

    await field(texts.code).fill(code);
    await press(texts.confirm);
    await page.locator('#alerts .contact', {hasText: to}).waitFor();

    await field(texts.drop).fill('30');
    await press(texts.set);
    await waitFor('the setting', async () => {
      const {settings} = await page.evaluate(
        async () => (await fetch('/api/v1/me/alerts')).json());
      return settings.drop_percent === 30;
    });

    if (process.env.SCREENSHOTS)
      await page.locator('#settings').screenshot({
        path: `${process.env.SCREENSHOTS}/alerts-${locale}.png`
      });

    const wide = await page.evaluate(
      () => document.documentElement.scrollWidth > innerWidth);

    assert.strictEqual(wide, false);
    await press(texts.remove);
    await page.locator('#alerts .contact').waitFor({state: 'detached'});
    page.check();
    await page.context().close();
    mail.messages.length = 0;
  }
});
