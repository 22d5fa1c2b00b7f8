// The dashboard: chooses the page, receives live events, and repeats requests
// at intervals.

import {accountPage} from './account.js';
import {Chart} from './chart.js';
import {accountLink, get, h, setText} from './dom.js';
import {
  ago, ahead, amount, count, date, difficulty, duration, percent, rate,
  rateParts
} from './format.js';
import {
  blocksTable, dot, refusalsTable, serversTable, stat, workersTable
} from './parts.js';
import {recognise, sessionControl, signInPage, viewer} from './session.js';
import {blockPage, nextSplitCard} from './split.js';
import {Table} from './table.js';

const SOON_MS = 100;
const FAST_MS = 5000;
const SLOW_MS = 60000;
const SILENT_MS = 6000;
const EVENTS_SHOWN = 12;

const $ = id => document.getElementById(id);

function poolPage() {
  const hashrate = stat('Pool hashrate', true);
  const share = stat('Of the network');
  const network = stat('Network');
  const workers = stat('Workers');
  const rejects = stat('Rejected');
  const job = stat('Mining height');
  const chart = new Chart({
    title: 'Hashrate', path: '/api/v1/pool/history', withShare: true
  });
  const round = roundCard();
  const connect = connectCard();
  const money = moneyCard();
  const events = eventsCard();
  const blocks = blocksTable({},
    'No block yet. Each one that the pool finds will be here.');
  const accounts = accountsTable();
  const list = workersTable({}, () => noMiner());
  const split = nextSplitCard();
  const servers = serversTable();
  const refusals = refusalsTable();
  const notes = h('div', {class: 'notes'});

  const element = h('div', {},
    h('h1', {class: 'hidden'}, 'Pool'), notes,
    h('div', {class: 'stats'}, [hashrate, share, network, workers, rejects, job]
      .map(one => one.element)),
    h('div', {class: 'two'}, chart.element,
      h('div', {class: 'stack'}, round.element, connect.element, money.element)),
    h('div', {class: 'two'}, blocks.element, events.element), split.element,
    servers.element, accounts.element, list.element, refusals.element);

  servers.element.hidden = true;
  refusals.element.hidden = true;
  accounts.element.hidden = list.element.hidden = !viewer.isOpen;

  blocks.options.onAnswer = answer => round.luck(answer.luck);

  function fast() {
    blocks.refresh();
    round.refresh();

    for (const table of [accounts, list, split, servers, refusals]) {
      if (!table.element.hidden)
        table.refresh();
    }
  }

  return {
    element,
    title: '',
    sections: [['hashrate', 'Hashrate'], ['blocks', 'Blocks'],
      ...(viewer.isOpen ? [['accounts', 'Accounts'], ['workers', 'Workers']]
        : []), ['connect', 'Connect']],
    fast,
    slow: () => chart.refresh(),
    onPool(pool) {
      const {accepted, stale, duplicate, low} = pool.shares;
      const refused = stale + duplicate + low;
      const sent = accepted + refused;

      hashrate.set(...rateParts(pool.hashrate));
      share.set(percent(pool.network_hashrate
        ? Math.min(1, pool.hashrate / pool.network_hashrate) : null));
      network.set(...rateParts(pool.network_hashrate));
      workers.set(count(pool.workers), pool.accounts === 1 ? 'of 1 account'
        : `of ${count(pool.accounts)} accounts`);
      rejects.set(percent(sent > 0 ? refused / sent : null),
        stale > 0 ? `${percent(stale / sent)} stale` : '');
      job.set(count(pool.height), pool.template_age_s === null ? ''
        : `job ${duration(pool.template_age_s)} old`);
      round.pool(pool);
      connect.pool(pool);
      money.pool(pool);
      notes.replaceChildren(...warnings(pool));

      for (const [table, isWanted] of [[split, paysAccounts(pool)],
        [servers, pool.servers > 1], [refusals, pool.places.refused_logins > 0]]) {
        if (isWanted && viewer.isOpen && table.element.hidden) {
          table.element.hidden = false;
          table.refresh();
        }
      }
    },
    onHappening: what => events.add(what)
  };
}

function warnings(pool) {
  const notes = [];

  if (!pool.has_job) {
    const reason = pool.no_job_reason ? `: ${pool.no_job_reason}` : '';
    notes.push(['bad', `There is no job for miners${reason}.`]);
  }

  if (pool.ledger_failing) {
    notes.push(['bad', 'The ledger cannot be written and shares are refused: '
      + `${pool.ledger_failing}.`]);
  }

  if (pool.ledger_stalled) {
    notes.push(['bad', 'Another process holds the ledger: shares wait for it, '
      + 'unanswered.']);
  }

  if (pool.node_overdue) {
    notes.push(['bad', `The node does not answer: ${pool.node_overdue}. `
      + 'Blocks without transactions are mined meanwhile, or none.']);
  }

  if (pool.template_invalid) {
    notes.push(['bad', 'The network would refuse the block of the node\'s '
      + `template: ${pool.template_invalid}. Miners get what is valid of it.`]);
  }

  if (pool.block_path_broken) {
    notes.push(['bad', `A found block would be lost: ${pool.block_path_broken}. `
      + 'A drill with a made-up one has shown it: start the node again.']);
  }

  if (pool.node_behind) {
    notes.push(['bad', `The node is behind: ${pool.node_behind}. No block is `
      + 'confirmed and nobody is paid until it has caught up.']);
  }

  if (pool.payout_state === 'failed') {
    notes.push(['bad', `The payout failed: ${pool.payout_reason}. Nothing is `
      + 'lost, and it is tried again every minute.']);
  } else if (pool.payout_state === 'waits') {
    notes.push(['warn', `The payout waits: ${pool.payout_reason}.`]);
  } else if (pool.payout_state === 'paused') {
    notes.push(['warn', `Payouts are ${pool.payout_reason}: nobody is paid `
      + 'before "hstratum payout resume".']);
  }

  if (pool.wallet && pool.wallet.trouble) {
    notes.push(['warn', `The wallet "${pool.wallet.name}" that pays: `
      + `${pool.wallet.trouble}.`]);
  }

  if (pool.undone.length > 0) {
    notes.push(['bad', `Not done for over a minute: ${pool.undone.join(', ')}. `
      + 'The log of the node says why.']);
  }

  if (pool.shared_ledger_away) {
    notes.push(['bad', 'The shared ledger cannot be read: lists and history are '
      + `old until it is back. Mining goes on. ${pool.shared_ledger_away}.`]);
  }

  for (const {address, is_connected: is, reason} of pool.extra_nodes) {
    if (!is && reason) {
      notes.push(['', `The extra node ${address} is not connected: ${reason}. `
        + 'Found blocks reach it later, from other nodes.']);
    }
  }

  for (const line of pool.differences)
    notes.push(['bad', `Servers of this pool differ. ${line}.`]);

  if (pool.places.is_crowded) {
    const {taken, all, not_logged_in: strangers, unproven, refused_full: refused,
      gave_way: gone, gave_way_unproven: more, descriptors_left: left} = pool.places;
    notes.push(['bad', `Connections find no place: ${taken} of ${all} are `
      + `taken, ${strangers} by miners that have not logged in, ${unproven} by `
      + 'some without an accepted share. '
      + `Since the start ${refused} were refused and ${gone + more} gave way`
      + `${left === null ? '' : `; ${left} descriptors are left`}.`]);
  }

  if (!viewer.isOpen) {
    notes.push(['', 'Accounts and workers are shown to their miners, who '
      + 'sign in, and to the owner of the pool.']);
  } else if (viewer.isCut) {
    const how = pool.can_sign_in && viewer.account === null ? 'Sign in, or open'
      : 'Open';

    notes.push(['', `Names are cut. ${how} /account/ and your whole name, for `
      + 'your own page.']);
  }

  if (!pool.has_ledger) {
    notes.push(['', 'The node runs in memory: there is no history, and nothing '
      + 'is kept.']);
  }

  return notes.map(([kind, text]) => h('p', {class: `note ${kind}`}, text));
}

function noMiner() {
  return h('div', {}, h('p', {}, 'No miner yet. Point one at'),
    h('p', {}, h('code', {class: 'address'}, state.url || 'this server')),
    h('p', {class: 'faint'}, 'with any worker name, for example ',
      h('code', {}, 'alice.rig1'), '.'));
}

function roundCard() {
  const effort = h('span', {class: 'number'}, '–');
  const bar = h('div', {class: 'fill'});
  const track = h('div', {
    class: 'track', role: 'meter', 'aria-label': 'Effort of the open round',
    'aria-valuemin': '0', 'aria-valuemax': '200', 'aria-valuenow': '0'
  }, bar, h('div', {class: 'mark'}));
  const since = h('dd');
  const shares = h('dd');
  const luck = h('dd');
  const next = h('dd');
  const reward = h('dd');
  const votes = h('dd');
  const extraName = h('dt', {hidden: true}, 'Extra nodes');
  const extra = h('dd', {hidden: true});
  let data = null;
  let pool = null;

  const element = h('section', {class: 'card', 'aria-labelledby': 'round-title'},
    h('div', {class: 'card-head'}, h('h2', {id: 'round-title'}, 'This round')),
    h('div', {class: 'value'}, effort, ' ', h('span', {class: 'unit'},
      'of the work a block takes')),
    track,
    h('dl', {}, h('dt', {}, 'Last block'), since, h('dt', {}, 'Shares'), shares,
      h('dt', {}, 'A block takes about'), next, h('dt', {}, 'It pays'), reward,
      h('dt', {}, 'Luck, last 100 blocks'), luck,
      h('dt', {}, 'Votes'), votes, extraName, extra));

  function show() {
    if (data) {
      const part = Math.min(data.effort, 2);
      setText(effort, percent(data.effort));
      bar.style.width = `${part * 50}%`;
      bar.classList.toggle('over', data.effort > 1);
      track.setAttribute('aria-valuenow', String(Math.round(part * 100)));
      setText(since, data.since === null ? 'none yet' : ago(data.since));
      setText(shares, count(data.shares));
    }

    if (pool) {
      const isMining = pool.hashrate > 0 && pool.network_hashrate > 0;
      setText(next, isMining
        ? duration(600 * pool.network_hashrate / pool.hashrate) : '–');
      setText(reward, amount(pool.reward));
      setText(votes, votesOf(pool));
      const nodes = pool.extra_nodes;
      const there = nodes.filter(node => node.is_connected).length;

      extraName.hidden = extra.hidden = nodes.length === 0;
      extra.title = nodes.map(node => `${node.address}: ${node.is_connected
        ? 'connected' : node.reason || 'not connected yet'}`).join('\n');
      setText(extra, `${there} of ${nodes.length} connected`);
    }
  }

  return {
    element,
    pool(now) {
      pool = now;
      show();
    },
    luck({blocks, effort}) {
      setText(luck, blocks > 0 && effort > 0 ? percent(1 / effort) : '–');
    },
    async refresh() {
      try {
        data = await get('/api/v1/round');
        show();
      } catch (e) {
        // The next refresh asks again.
      }
    }
  };
}

/** The deployments that are being voted on, and whether our blocks do. */

function votesOf({deployments}) {
  const open = deployments.filter(({state, is_signalled: is}) => is
    || state === 'started' || state === 'locked_in');

  if (open.length === 0)
    return deployments.length > 0 ? 'none is open' : '–';

  return open.map(({name, bit, state, is_signalled: is}) => {
    return `${is ? 'for' : 'not for'} ${name} (bit ${bit}, `
      + `${state.replace('_', ' ')})`;
  }).join(', ');
}

function connectCard() {
  const address = h('code', {class: 'address'}, '–');
  const copied = h('span', {class: 'copied', role: 'status'});
  const login = h('p', {class: 'faint'});
  const copy = h('button', {type: 'button', class: 'primary', onclick: () => {
    copyText(address).then((done) => {
      setText(copied, done ? 'Copied' : 'Select it and copy by hand');
      setTimeout(() => setText(copied, ''), 3000);
    });
  }}, 'Copy');

  const element = h('section', {
    class: 'card connect', id: 'connect', 'aria-labelledby': 'connect-title'
  },
  h('div', {class: 'whole'},
    h('h2', {id: 'connect-title'}, 'Connect a miner'), h('p', {}, address)),
  h('div', {}, h('p', {}, copy, ' ', copied), login),
  h('img', {
    class: 'code', src: '/stratum.svg', width: '132', height: '132',
    alt: 'The address as a QR code'
  }));

  return {
    element,
    pool(pool) {
      if (state.url)
        setText(address, state.url);

      setText(login, LOGINS[pool.auth]);
    }
  };
}

const LOGINS = {
  open: 'User: account.worker, and the password: any, or an account\'s',
  users: 'User: account.worker, and the password: the account\'s',
  address: 'User: your address.worker, and the password: any'
};

/** The card of the pool's address and terms, shown from the start. */

function moneyCard() {
  const blocks = h('span', {}, 'Each block pays ');
  const address = h('code', {class: 'pays'}, '–');
  const meaning = h('p', {class: 'faint'});
  const scheme = h('dd');
  const fee = h('dd');
  const threshold = h('dd');
  const owed = h('dd');
  const wallet = h('dd');
  const last = h('dd');
  const next = h('dd');
  const terms = h('dl', {hidden: true}, h('dt', {}, 'Scheme'), scheme,
    h('dt', {}, 'Fee'), fee, h('dt', {}, 'Threshold'), threshold,
    h('dt', {}, 'Owed to accounts'), owed, h('dt', {}, 'In the wallet'), wallet,
    h('dt', {}, 'Last payment'), last, h('dt', {}, 'Next payment'), next);

  return {
    element: h('section', {
      class: 'card', id: 'money', 'aria-labelledby': 'money-title'
    },
    h('h2', {id: 'money-title'}, 'Where the money goes'),
    h('p', {}, blocks, address), terms, meaning),
    pool(pool) {
      setText(blocks, paysAccounts(pool)
        ? 'Each block pays the accounts directly, and its fee and what is too '
          + 'small for an output to ' : 'Each block pays ');
      setText(address, pool.pays || 'an address that the first job will tell');
      setText(meaning, pool.has_ledger ? balances(pool)
        : 'The node runs in memory: nobody is owed anything.');
      terms.hidden = pool.terms === null;

      if (pool.terms) {
        showScheme(scheme, pool.terms);
        setText(fee, `${pool.terms.fee} %`);
        setText(threshold, amount(pool.terms.threshold));
        setText(owed, amount(pool.owed));
        owed.title = `Pending blocks included, as of ${
          duration(pool.money_age_s)} ago`;
        setText(last, pool.last_payment_at === null ? 'none yet'
          : ago(pool.last_payment_at));
        setText(wallet, pool.wallet ? amount(pool.wallet.balance) : '–');
        setText(next, nextPayment(pool));
      }
    }
  };
}

function showScheme(element, {scheme, window}) {
  const isProp = scheme === 'prop';

  setText(element, isProp ? 'PROP' : `PPLNS, window ${window}`);
  element.title = isProp
    ? 'A block is divided by the shares since the pool\'s block before'
    : 'A block is divided by the last shares before it, as many as make '
      + `${window} times the network's difficulty`;
}

function nextPayment(pool) {
  if (pool.next_payment_at !== null)
    return ahead(pool.next_payment_at);

  return pool.payout_state === 'off' ? 'when the owner makes it' : 'not known';
}

function paysAccounts(pool) {
  return pool.block_payouts.includes('split');
}

function balances(pool) {
  const {auth, terms} = pool;

  if (paysAccounts(pool)) {
    return 'A balance is what the owner of that address owes an account: parts '
      + 'too small for an output. Later blocks pay it with the account\'s part.';
  }

  const every = terms && terms.payout_every;
  const when = every ? `The server divides blocks and pays every ${
    duration(every)}: ` : 'It changes only when the owner runs "hstratum '
    + 'payout", which divides blocks and pays ';

  return 'A balance is what the owner of that address owes an account for its '
    + `shares. ${when}${PAID[auth]}`;
}

const PAID = {
  open: 'accounts that have an address. If you mine alone, all of it is at '
    + 'that address already.',
  users: 'accounts that have an address.',
  address: 'the address that is the account\'s name.'
};

/** Without TLS a browser has no clipboard, except on localhost. */

async function copyText(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch (e) {
    getSelection().selectAllChildren(element);
    return false;
  }
}

function eventsCard() {
  const items = h('ol', {class: 'events', 'aria-live': 'polite'});
  const empty = h('p', {class: 'empty'}, 'Nothing has happened yet.');
  const known = new Set();

  return {
    element: h('section', {class: 'card', 'aria-labelledby': 'events-title'},
      h('div', {class: 'card-head'}, h('h2', {id: 'events-title'}, 'Events')),
      items, empty),
    add(what) {
      // Events come again after a reconnect; a restarted server counts from
      // one again.
      const key = `${what.id} ${what.time} ${what.kind} ${what.hash}`;

      if (known.has(key))
        return;

      known.add(key);
      empty.hidden = true;
      items.prepend(h('li', {}, h('span', {class: `state ${stateOf(what)}`}),
        h('span', {}, ...sentence(what)),
        h('time', {title: date(what.time), 'data-time': what.time},
          ago(what.time))));

      while (items.children.length > EVENTS_SHOWN)
        items.lastChild.remove();
    }
  };
}

function stateOf({kind, state, severity}) {
  if (kind === 'block')
    return state;

  const isGood = kind === 'job' || kind === 'ledger_open'
    || severity === 'info';

  return isGood ? 'confirmed' : 'refused';
}

function sentence(what) {
  const because = what.reason ? `: ${what.reason}` : '';

  switch (what.kind) {
    case 'block':
      return ['Block ', h('a', {href: `/block/${what.hash}`},
        count(what.height)), ` ${what.state}`,
        ...(what.account === null ? [] : [' by ', accountLink(what.account)]),
        because];
    case 'no_job':
      return [`No job for miners${because}`];
    case 'job':
      return ['There is a job for miners'];
    case 'ledger_failing':
      return ['The ledger cannot be written, shares are refused'];
    case 'ledger_open':
      return ['The ledger takes shares again'];
    case 'alarm':
      return [what.reason];
    default:
      return ['The pool does not answer'];
  }
}

function accountsTable() {
  return new Table({
    id: 'accounts', title: 'Accounts', path: '/api/v1/accounts',
    key: 'accounts', search: 'Find an account', sort: 'hashrate', limit: 10,
    empty: 'Accounts appear here when they mine.',
    columns: [
      {title: 'Account', sort: 'name', descending: false,
        cell: row => h('span', {class: 'with-dot'}, dot(row.workers_online > 0),
          accountLink(row.name))},
      {title: 'Workers', sort: 'workers', kind: 'number',
        cell: row => `${count(row.workers_online)} / ${count(row.workers)}`},
      {title: 'Hashrate', sort: 'hashrate', kind: 'number',
        cell: row => rate(row.hashrate)},
      {title: '24 h', sort: 'hashrate_24h', kind: 'number minor',
        cell: row => rate(row.hashrate_24h)},
      {title: 'Rejected', sort: 'reject_rate', kind: 'number minor',
        cell: row => percent(row.reject_rate)},
      {title: 'Balance', sort: 'balance', kind: 'number minor',
        cell: row => amount(row.balance)}
    ]
  });
}

const state = {url: null, heardAt: Date.now()};

/** A part of the path; as it is where its escapes are no UTF-8, so that it is found to be nobody's. */

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (e) {
    return text;
  }
}

function choosePage() {
  if (location.pathname === '/sign-in')
    return signInPage();

  const [, kind, rest] = /^\/(account|block)\/(.+)$/.exec(location.pathname)
    || [];
  const pages = {account: accountPage, block: blockPage};

  return kind ? pages[kind](decoded(rest)) : poolPage();
}

function showLive() {
  const silent = Date.now() - state.heardAt > SILENT_MS;
  const live = $('live');

  live.classList.toggle('on', !silent);
  setText(live, silent ? 'not connected' : 'live');
  $('banner').hidden = !silent;

  if (silent) {
    setText($('banner'), 'The connection to the server is lost. What you see is '
      + 'old; it is tried again by itself.');
  }

  for (const time of document.querySelectorAll('time[data-time]'))
    setText(time, ago(Number(time.dataset.time)));
}

function showPool(page, pool) {
  // Events have the same URL for all; the first answer has the one that this
  // browser used.
  state.url = state.url || pool.stratum_url;
  state.heardAt = Date.now();
  $('network').hidden = pool.network === 'main';
  setText($('network'), pool.network);
  setText($('version'), `hstratum ${pool.version} · `
    + `difficulty ${difficulty(pool.network_difficulty)} · up `
    + `${duration(pool.uptime_s)}`);

  const title = page.title || rate(pool.hashrate);
  document.title = `${title} · hstratum`;
  page.onPool(pool);
  showLive();
}

function listen(page) {
  const source = new EventSource('/api/v1/events');

  source.addEventListener('pool', (event) => {
    showPool(page, JSON.parse(event.data));
  });

  source.addEventListener('happening', (event) => {
    const what = JSON.parse(event.data);

    page.onHappening(what);

    // Many come at once where the stream begins.
    if (what.kind === 'block') {
      clearTimeout(state.refresh);
      state.refresh = setTimeout(page.fast, SOON_MS);
    }
  });

  // Also after the server was away, or another page has signed out.
  source.addEventListener('open', async () => {
    const was = `${viewer.isOperator} ${viewer.account}`;
    const pool = await get('/api/v1/pool').catch(() => null);

    if (pool)
      await recognise(pool).catch(() => {});

    if (`${viewer.isOperator} ${viewer.account}` !== was)
      location.reload();
  });

  // A server that refuses, because too many listen, ends the source for good.
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CLOSED)
      setTimeout(() => listen(page), FAST_MS);
  });
}

async function start() {
  // First, since the answer has the address as this browser reached it.
  const pool = await get('/api/v1/pool').catch(() => null);

  if (pool)
    await recognise(pool).catch(() => {});

  const page = choosePage();

  if (pool)
    $('session').replaceChildren(...sessionControl(pool));

  $('nav').replaceChildren(...page.sections.map(([id, text]) => {
    return h('a', {href: `#${id}`}, text);
  }));
  $('main').replaceChildren(page.element);

  const every = (ms, run) => {
    run();
    setInterval(() => {
      if (!document.hidden)
        run();
    }, ms);
  };

  if (pool) {
    showPool(page, pool);
  } else {
    state.heardAt = 0;
    showLive();
  }

  listen(page);
  every(FAST_MS, page.fast);
  every(SLOW_MS, page.slow);
  setInterval(showLive, 1000);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden)
      page.fast();
  });
}

start();
