// Connecting a miner: the card of the pool's page, and the page with each
// listener, the lines to type, and how the reader's miner does.

import {copyButton, get, h, name, renew, setText} from './dom.js';
import {inputs} from './forms.js';
import {difficulty, duration} from './format.js';
import {pieces, t, word} from './language.js';
import {viewer} from './session.js';

const TYPED_MS = 300;
const WORKERS_SHOWN = 25;
/** Seconds for which a refused login counts as of now. */
const REFUSED_S = 600;
/** What a shell takes as it is. */
const PLAIN = /^[\w.@%+:,/-]+$/;

/** The first address, on the pool's page. */

export function connectCard() {
  const address = h('code', {class: 'address'}, '–');

  return {
    element: h('section', {
      class: 'card', id: 'connect', 'aria-labelledby': 'connect-title'
    },
    h('h2', {id: 'connect-title'}, t('connect.title')),
    h('p', {}, address),
    h('p', {}, copyButton(address, t('label.address'))),
    h('p', {}, h('a', {href: '/connect'}, t('connect.steps')))),
    async refresh() {
      const told = await get('/api/v1/listeners').catch(() => null);

      if (told)
        setText(address, addressOf(told.listeners[0]));
    }
  };
}

export function connectPage() {
  const [account, worker] = inputs([
    ['account', t('label.account'), {...NAME, maxlength: '100',
      value: viewer.account}],
    ['worker', t('connect.worker'), {...NAME, maxlength: '27'}]
  ]);
  const typed = () => ({account: account.field.value.trim(),
    worker: worker.field.value.trim()});
  const login = h('p', {class: 'faint'});
  const note = h('div', {class: 'notes'});
  const cards = h('div');
  const check = minerCheck(typed);
  const state = {pool: null, told: null, shown: null};
  let timer = null;

  // Made anew only where it has changed: a line may be selected.
  function show() {
    if (!state.pool || !state.told)
      return;

    const listeners = state.told.listeners.filter(isForReader)
      .map(listener => ({...listener, difficulty: Math.min(
        listener.difficulty, state.pool.network_difficulty || Infinity)}));
    const {auth, servers, has_job: hasJob} = state.pool;
    const shown = {...state.told, ...typed(), listeners, auth, servers, hasJob};
    const text = JSON.stringify(shown);

    if (text === state.shown)
      return;

    state.shown = text;
    setText(login, word('login', auth));
    note.replaceChildren(...notes(shown)
      .map(key => h('p', {class: 'note'}, t(key))));
    renew(cards, ...listeners.map((listener, place) => {
      return listenerCard(listener, place, shown);
    }));
  }

  for (const {field} of [account, worker]) {
    field.addEventListener('input', () => {
      check.clear();
      clearTimeout(timer);
      timer = setTimeout(() => {
        show();
        check.refresh();
      }, TYPED_MS);
    });
  }

  return {
    element: h('div', {},
      h('div', {class: 'title'}, h('a', {href: '/', class: 'back'},
        t('pool.back')), h('h1', {}, t('connect.title'))),
      note,
      h('section', {class: 'card', 'aria-labelledby': 'who'},
        h('h2', {id: 'who'}, t('connect.who')), login,
        h('div', {class: 'fields'}, [account, worker].map(({label, field}) => {
          return h('p', {}, label, field);
        })),
        check.element),
      cards),
    title: t('connect.title'),
    sections: [],
    fast: () => check.refresh(),
    async slow() {
      state.told = await get('/api/v1/listeners').catch(() => state.told);
      show();
    },
    onPool(pool) {
      state.pool = pool;
      check.tick(pool);
      show();
    },
    onHappening() {}
  };
}

const NAME = {type: 'text', required: false, autocapitalize: 'none',
  autocomplete: 'off', spellcheck: 'false'};

/** False for what listens on the server's own machine, of whoever is not there. */

function isForReader({url}) {
  return url === null || !isLoopback(hostOf(url).host)
    || isLoopback(location.hostname);
}

function isLoopback(host) {
  return /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(host);
}

function notes({hasJob, is_behind_proxy: isBehindProxy, servers, listeners}) {
  return [
    [!hasJob, 'connect.no_job'],
    [isBehindProxy, 'connect.behind_proxy'],
    [servers > 1, 'connect.servers'],
    [listeners.some(({url}) => url && isLoopback(hostOf(url).host)),
      'connect.loopback']
  ].filter(([is]) => is).map(([, key]) => key);
}

/** Host and port of a URL as this server writes it. */

function hostOf(url) {
  const [, host, port] = /^stratum\+\w+:\/\/(.+):(\d+)$/.exec(url);

  return {host, port};
}

function addressOf({url, port}) {
  return url || t('connect.unknown', {port});
}

function listenerCard(listener, place, shown) {
  const {url, port, transport, payout} = listener;
  const id = `listener-${place}`;
  const facts = [
    [t('label.address'), h('code', {class: 'address'},
      addressOf(listener))],
    [t('connect.transport'), word('transport', transport)],
    [t('label.difficulty'), t(shown.is_dynamic ? 'connect.dynamic'
      : 'connect.fixed', {difficulty: difficulty(listener.difficulty)})],
    [t('block.pays'), word('listener_pays', payout)]
  ];

  return h('section', {class: 'card', 'aria-labelledby': id},
    h('h2', {id}, t('connect.port', {port})),
    h('div', {class: 'facts'},
      h('dl', {}, facts.flatMap(([title, value]) => {
        return [h('dt', {}, title), h('dd', {}, value)];
      })),
      place === 0 && url ? h('img', {
        class: 'code', src: '/stratum.svg', width: '132', height: '132',
        alt: t('connect.code')
      }) : null),
    url ? h('div', {class: 'lines'}, minersLines(url, transport,
      loginOf(payout, shown))) : null);
}

/** User and password to type; blanks stand for what the page does not know. */

function loginOf(payout, {auth, account, worker}) {
  const blank = t(auth === 'address' || payout === 'solo'
    ? 'connect.your_address' : 'connect.your_account');

  return {
    user: `${account || blank}${worker && `.${worker}`}`,
    password: auth === 'users' ? t('connect.your_password') : 'x'
  };
}

/** What to type into each kind of miner. */

function minersLines(url, transport, {user, password}) {
  const {host, port} = hostOf(url);
  const handyMiner = {mode: 'pool', host: host.replace(/[[\]]/g, ''), port,
    stratum_user: user, stratum_pass: password, poolDifficulty: '-1'};
  const ours = ['hstratum', 'mine', '--url', url, '--user', quoted(user),
    ...(password === 'x' ? [] : ['--password', quoted(password)])];
  const others = transport === 'tls' ? [h('p', {class: 'faint'},
    t('connect.tls_only'))] : [
    block('Goldshell', t('connect.goldshell'),
      line(t('connect.url'), url), line(t('connect.user'), user),
      line(t('sign_in.password'), password)),
    block('HandyMiner', t('connect.handyminer'), line('config.json',
      JSON.stringify(handyMiner, null, 2).split('\n').slice(1, -1)
        .map(text => text.trim()).join('\n')))
  ];

  return [...others, block('hstratum mine', t('connect.mine'),
    line(t('connect.command'), ours.join(' ')))];
}

function block(title, text, ...lines) {
  return h('div', {}, h('h3', {}, title), h('p', {class: 'faint'}, text),
    lines);
}

function line(title, text) {
  const code = h('code', {class: 'line'}, text);

  return h('div', {}, h('div', {class: 'label'}, title),
    h('div', {class: 'row'}, code, copyButton(code, title)));
}

/** A word of a shell's command. */

function quoted(text) {
  return PLAIN.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}

/**
 * How the miners of the typed account do, where this reader may know. `typed`
 * gives account and worker.
 */

function minerCheck(typed) {
  const list = h('ul', {class: 'events', 'aria-live': 'polite'});
  let asked = 0;
  let canSignIn = false;

  // Times pass in place: what is read out is what has changed.
  function say(...rows) {
    if (rows.map(still).join() !== [...list.children].map(still).join())
      renew(list, ...rows);
    else
      rows.forEach((row, place) => {
        const times = list.children[place].querySelectorAll('time');

        row.querySelectorAll('time').forEach(({dataset}, at) => {
          Object.assign(times[at].dataset, dataset);
        });
      });
  }

  async function look() {
    const {account, worker} = typed();

    if (account === '')
      return [row('', t('check.nothing'))];

    if (viewer.isCut && viewer.account !== account)
      return [row('', canSignIn && viewer.account === null ? h('a', {href: '/sign-in'},
        t('check.sign_in')) : t('check.hidden'))];

    try {
      return checkRows(account, ...await Promise.all([
        get(`/api/v1/workers?${new URLSearchParams({account, online: true,
          limit: WORKERS_SHOWN, ...(worker ? {search: worker} : {})})}`),
        get(`/api/v1/refusals?${new URLSearchParams({account, limit: 1})}`)
      ]));
    } catch (e) {
      // What does not answer is asked again.
      return e.status ? [row('', e.message)] : null;
    }
  }

  return {
    element: list,
    tick(pool) {
      canSignIn = pool.can_sign_in;

      for (const time of list.querySelectorAll('time'))
        setText(time, exactly(Number(time.dataset.at)));
    },
    clear() {
      asked++;
      list.replaceChildren();
    },
    async refresh() {
      const own = ++asked;
      const rows = await look();

      if (own === asked && rows)
        say(...rows);
    }
  };
}

/** What a line says beside its times. */

function still(row) {
  const copy = row.cloneNode(true);

  for (const time of copy.querySelectorAll('time'))
    time.remove();

  return copy.textContent;
}

/** A line for each worker that is there, and one for a login refused since. */

function checkRows(account, {workers}, {refusals: [refusal]}) {
  const newest = Math.max(0, ...workers.map(one => one.connected_at));
  const isOfNow = refusal && refusal.last >= newest
    && refusal.last > Date.now() / 1000 - REFUSED_S;
  const rows = workers.map(workerRow);

  if (isOfNow)
    rows.unshift(row('refused', ...pieces('check.refused', {
      name: name(refusal.name), last: time(refusal.last),
      reason: word('refused', refusal.reason)
    })));

  return rows.length > 0 ? rows
    : [row('', ...pieces('check.nobody', {account: name(account)}))];
}

function workerRow({worker, servers, shares, connected_at: since,
  last_share_at: last}) {
  const values = {worker: name(worker), servers: servers.join(t('text.comma')),
    since: time(since), last: time(last)};
  const {accepted, ...refused} = shares;
  const isRejected = accepted === 0
    && Object.values(refused).some(number => number > 0);

  if (since === null)
    return row('confirmed', ...pieces('check.elsewhere', values));

  if (last !== null && last >= since)
    return row('confirmed', ...pieces('check.mines', values));

  return row('accepted', ...pieces(isRejected ? 'check.rejected'
    : 'check.no_share', values));
}

function row(kind, ...children) {
  return h('li', {}, h('span', {class: `state ${kind}`}),
    h('span', {}, children));
}

/** A time that goes on by itself. */

function time(at) {
  return h('time', {'data-at': at, 'aria-live': 'off'}, exactly(at));
}

/** A time with its seconds. */

function exactly(at) {
  return t('time.ago', {time: duration(Date.now() / 1000 - at)});
}
