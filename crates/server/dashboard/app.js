// The dashboard: shows the page of the address, turns to another when a link is
// followed, receives live events, and repeats requests at intervals.

import {accountPage, workerPage} from './account.js';
import {Chart} from './chart.js';
import {connectCard, connectPage} from './connect.js';
import {accountLink, get, h, renew, setText} from './dom.js';
import {
  ago, ahead, amount, count, date, difficulty, duration, number, percent,
  percentage, rate, rateParts
} from './format.js';
import {pieces, t, word} from './language.js';
import {
  blocksTable, dot, languageControl, refusalsTable, serversTable, stat,
  workersTable
} from './parts.js';
import {
  VIEW, endedLinkPage, recognise, sessionControl, signInPage, takeLink, viewer
} from './session.js';
import {blockPage, nextSplitCard} from './split.js';
import {explainsNoJob, partOfChain, syncCard} from './sync.js';
import {Table} from './table.js';

const SOON_MS = 100;
const FAST_MS = 5000;
const SLOW_MS = 60000;
const SILENT_MS = 6000;
const EVENTS_SHOWN = 12;

const $ = id => document.getElementById(id);

function poolPage() {
  const hashrate = stat(t('pool.hashrate'), true);
  const share = stat(t('pool.share'));
  const network = stat(t('pool.network'));
  const workers = stat(t('workers.title'));
  const rejects = stat(t('label.rejected'));
  const job = stat(t('pool.height'));
  const numbers = h('div', {class: 'stats'}, [hashrate, share, network, workers,
    rejects, job].map(one => one.element));
  const sync = syncCard();
  const chart = new Chart({
    title: t('label.hashrate'), path: '/api/v1/pool/history', withShare: true
  });
  const round = roundCard();
  const connect = connectCard();
  const money = moneyCard();
  const events = eventsCard();
  const blocks = blocksTable({}, t('blocks.none'));
  const accounts = accountsTable();
  const list = workersTable({}, () => noMiner());
  const split = nextSplitCard();
  const servers = serversTable();
  const refusals = refusalsTable();
  const notes = h('div', {class: 'notes'});

  const element = h('div', {},
    h('h1', {class: 'hidden'}, t('pool.title')), notes,
    sync.element, numbers,
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
    sections: [['hashrate', t('label.hashrate')], ['blocks', t('blocks.title')],
      ...(viewer.isOpen ? [['accounts', t('accounts.title')],
        ['workers', t('workers.title')]] : []), ['connect', t('connect.nav')]],
    fast,
    slow() {
      chart.refresh();
      connect.refresh();
    },
    onPool(pool) {
      const {accepted, stale, duplicate, low} = pool.shares;
      const refused = stale + duplicate + low;
      const sent = accepted + refused;

      hashrate.set(...rateParts(pool.hashrate));
      share.set(percent(pool.network_hashrate
        ? Math.min(1, pool.hashrate / pool.network_hashrate) : null));
      network.set(...rateParts(pool.network_hashrate));
      workers.set(count(pool.workers),
        t('pool.accounts', {count: pool.accounts}));
      rejects.set(percent(sent > 0 ? refused / sent : null),
        stale > 0 ? t('pool.stale', {percent: percent(stale / sent)}) : '');
      job.set(count(pool.height), pool.template_age_s === null ? ''
        : t('pool.job_age', {time: duration(pool.template_age_s)}));
      numbers.hidden = pool.sync !== null;
      sync.show(pool.sync);
      round.pool(pool);
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

  if (!pool.has_job && !explainsNoJob(pool))
    notes.push(['bad', t('note.no_job',
      {because: because(pool.no_job_reason)})]);

  for (const [key, reason] of [['note.ledger_failing', pool.ledger_failing],
    ['note.ledger_stalled', pool.ledger_stalled],
    ['note.node_overdue', pool.node_overdue],
    ['note.template_invalid', pool.template_invalid],
    ['note.block_path', pool.block_path_broken],
    ['note.node_behind', pool.node_behind]]) {
    if (reason)
      notes.push(['bad', t(key, {reason})]);
  }

  if (PAYOUT_NOTES[pool.payout_state]) {
    const [kind, key] = PAYOUT_NOTES[pool.payout_state];

    notes.push([kind, t(key, {reason: pool.payout_reason})]);
  }

  if (pool.wallet && pool.wallet.trouble) {
    notes.push(['warn', t('note.wallet',
      {name: pool.wallet.name, reason: pool.wallet.trouble})]);
  }

  if (pool.undone.length > 0) {
    notes.push(['bad', t('note.undone',
      {names: pool.undone.join(t('text.comma'))})]);
  }

  if (pool.shared_ledger_away) {
    notes.push(['bad', t('note.shared_ledger',
      {reason: pool.shared_ledger_away})]);
  }

  for (const {address, is_connected: is, reason} of pool.extra_nodes) {
    if (!is && reason)
      notes.push(['', t('note.extra_node', {address, reason})]);
  }

  for (const reason of pool.differences)
    notes.push(['bad', t('note.difference', {reason})]);

  if (pool.places.is_crowded)
    notes.push(['bad', crowdedNote(pool.places)]);

  if (!viewer.isOpen) {
    notes.push(['', t('note.private')]);
  } else if (viewer.isCut) {
    notes.push(['', t(pool.can_sign_in && viewer.account === null
      ? 'note.cut_sign_in' : 'note.cut')]);
  }

  if (!pool.has_ledger)
    notes.push(['', t('note.in_memory')]);

  return notes.map(([kind, text]) => h('p', {class: `note ${kind}`}, text));
}

const PAYOUT_NOTES = {
  failed: ['bad', 'note.payout_failed'],
  waits: ['warn', 'note.payout_waits'],
  paused: ['warn', 'note.payout_paused']
};

function crowdedNote({taken, all, not_logged_in: strangers, unproven,
  refused_full: refused, gave_way: gone, gave_way_unproven: more,
  descriptors_left: left}) {
  return t(left === null ? 'note.crowded' : 'note.crowded_descriptors',
    {taken, all, strangers, unproven, refused, gone: gone + more, left});
}

function because(reason) {
  return reason ? t('text.because', {reason}) : '';
}

function noMiner() {
  return h('div', {}, h('p', {}, t('workers.none')),
    h('p', {}, h('code', {class: 'address'},
      state.url || t('workers.this_server'))),
    h('p', {class: 'faint'}, pieces('workers.none_name',
      {name: h('code', {}, 'alice.rig1')})));
}

function roundCard() {
  const effort = h('span', {class: 'number'}, '–');
  const bar = h('div', {class: 'fill'});
  const track = h('div', {
    class: 'track', role: 'meter', 'aria-label': t('round.effort'),
    'aria-valuemin': '0', 'aria-valuemax': '200', 'aria-valuenow': '0'
  }, bar, h('div', {class: 'mark'}));
  const since = h('dd');
  const shares = h('dd');
  const luck = h('dd');
  const luckiest = h('dd');
  const unluckiest = h('dd');
  const best = h('dd');
  const next = h('dd');
  const reward = h('dd');
  const votes = h('dd');
  const extraName = h('dt', {hidden: true}, t('round.nodes'));
  const extra = h('dd', {hidden: true});
  let data = null;
  let pool = null;

  const element = h('section', {class: 'card', 'aria-labelledby': 'round-title'},
    h('div', {class: 'card-head'}, h('h2', {id: 'round-title'},
      t('round.title'))),
    h('div', {class: 'value unit'}, pieces('round.of_block', {effort})),
    track,
    h('dl', {}, h('dt', {}, t('round.last_block')), since,
      h('dt', {}, t('round.shares')), shares,
      h('dt', {}, t('round.next')), next,
      h('dt', {}, t('round.reward')), reward,
      h('dt', {}, t('round.luck')), luck,
      h('dt', {}, t('round.luckiest')), luckiest,
      h('dt', {}, t('round.unluckiest')), unluckiest,
      h('dt', {}, t('label.best_share')), best,
      h('dt', {}, t('round.votes')), votes, extraName, extra));

  function show() {
    if (data) {
      const part = Math.min(data.effort, 2);
      setText(effort, percent(data.effort));
      bar.style.width = `${part * 50}%`;
      bar.classList.toggle('over', data.effort > 1);
      track.setAttribute('aria-valuenow', String(Math.round(part * 100)));
      setText(since, data.since === null ? t('text.none_yet')
        : ago(data.since));
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
      extra.title = nodes.map(node => t('round.node', {
        address: node.address,
        state: node.is_connected ? t('round.node_connected')
          : node.reason || t('round.node_waits')
      })).join('\n');
      setText(extra, t('round.nodes_connected',
        {connected: there, all: nodes.length}));
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

        const records = await get('/api/v1/records');

        renew(luckiest, ...record(records.luckiest));
        renew(unluckiest, ...record(records.unluckiest));
        renew(best, ...bestShare(records.best_share));
      } catch (e) {
        // The next refresh asks again.
      }
    }
  };
}

/** A block by its effort. */

function record(block) {
  return block === null ? [t('text.none_yet')]
    : pieces('round.record', {effort: percent(block.effort), block: h('a', {
      href: `/block/${block.hash}`, title: date(block.found_at)
    }, t('block.number', {height: count(block.height)}))});
}

/** A share by its difficulty. */

function bestShare(share) {
  if (share === null)
    return [t('text.none_yet')];

  const met = h('span', {title: date(share.at)}, difficulty(share.difficulty));

  return share.account === null ? [met]
    : pieces('round.best_share', {difficulty: met,
      account: accountLink(share.account)});
}

/** The deployments that are being voted on, and whether our blocks do. */

function votesOf({deployments}) {
  const open = deployments.filter(({state, is_signalled: is}) => is
    || state === 'started' || state === 'locked_in');

  if (open.length === 0)
    return deployments.length > 0 ? t('round.votes_none') : '–';

  return open.map(({name, bit, state, is_signalled: is}) => {
    return t(is ? 'round.vote_for' : 'round.vote_against',
      {name, bit, state: word('deployment', state)});
  }).join(t('text.comma'));
}

/** The card of the pool's address and terms, shown from the start. */

function moneyCard() {
  const address = h('code', {class: 'pays'}, '–');
  const pays = h('p', {}, pieces('money.pays', {address}));
  const meaning = h('p', {class: 'faint'});
  const scheme = h('dd');
  const fee = h('dd');
  const threshold = h('dd');
  const owed = h('dd');
  const wallet = h('dd');
  const last = h('dd');
  const next = h('dd');
  const terms = h('dl', {hidden: true}, h('dt', {}, t('money.scheme')),
    scheme, h('dt', {}, t('money.fee')), fee,
    h('dt', {}, t('money.threshold')), threshold,
    h('dt', {}, t('money.owed')), owed, h('dt', {}, t('money.wallet')), wallet,
    h('dt', {}, t('money.last')), last, h('dt', {}, t('money.next')), next);
  let isSplit = false;

  return {
    element: h('section', {
      class: 'card', id: 'money', 'aria-labelledby': 'money-title'
    },
    h('h2', {id: 'money-title'}, t('money.title')), pays, terms, meaning),
    pool(pool) {
      // Made anew only where it has changed: the address may be selected.
      if (paysAccounts(pool) !== isSplit) {
        isSplit = !isSplit;
        pays.replaceChildren(...pieces(isSplit ? 'money.pays_accounts'
          : 'money.pays', {address}));
      }

      setText(address, pool.pays || t('money.address_later'));
      setText(meaning, pool.has_ledger ? balances(pool)
        : t('money.in_memory'));
      terms.hidden = pool.terms === null;

      if (pool.terms) {
        showScheme(scheme, pool.terms);
        setText(fee, percentage(number(pool.terms.fee)));
        setText(threshold, amount(pool.terms.threshold));
        setText(owed, amount(pool.owed));
        owed.title = t('money.owed_age', {time: duration(pool.money_age_s)});
        setText(last, pool.last_payment_at === null ? t('text.none_yet')
          : ago(pool.last_payment_at));
        setText(wallet, pool.wallet ? amount(pool.wallet.balance) : '–');
        setText(next, nextPayment(pool));
      }
    }
  };
}

function showScheme(element, {scheme, window}) {
  const isProp = scheme === 'prop';

  setText(element, isProp ? 'PROP'
    : t('money.pplns', {window: number(window)}));
  element.title = isProp ? t('money.prop_means')
    : t('money.pplns_means', {window: number(window)});
}

function nextPayment(pool) {
  if (pool.next_payment_at !== null)
    return ahead(pool.next_payment_at);

  return t(pool.payout_state === 'off' ? 'money.next_by_owner'
    : 'money.next_unknown');
}

function paysAccounts(pool) {
  return pool.block_payouts.includes('split');
}

function balances(pool) {
  const {auth, terms} = pool;

  if (paysAccounts(pool)) {
    return t('money.split');
  }

  const every = terms && terms.payout_every;
  const paid = word('paid', auth);

  return every ? t('money.every', {time: duration(every), paid})
    : t('money.by_hand', {paid});
}

function eventsCard() {
  const items = h('ol', {class: 'events', 'aria-live': 'polite'});
  const empty = h('p', {class: 'empty'}, t('events.none'));
  const known = new Set();

  return {
    element: h('section', {class: 'card', 'aria-labelledby': 'events-title'},
      h('div', {class: 'card-head'}, h('h2', {id: 'events-title'},
        t('events.title'))),
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
  switch (what.kind) {
    case 'block':
      return pieces(what.account === null ? 'event.block' : 'event.block_by', {
        height: h('a', {href: `/block/${what.hash}`}, count(what.height)),
        state: word('state', what.state),
        account: what.account === null ? '' : accountLink(what.account),
        because: because(what.reason)
      });
    case 'no_job':
      return pieces('event.no_job', {because: because(what.reason)});
    case 'job':
      return pieces('event.job');
    case 'ledger_failing':
      return pieces('event.ledger_failing');
    case 'ledger_open':
      return pieces('event.ledger_open');
    case 'alarm':
      return [what.reason];
    default:
      return pieces('event.silent');
  }
}

function accountsTable() {
  return new Table({
    id: 'accounts', title: t('accounts.title'), path: '/api/v1/accounts',
    key: 'accounts', search: t('accounts.find'), sort: 'hashrate', limit: 10,
    empty: t('accounts.none'),
    columns: [
      {title: t('label.account'), sort: 'name', descending: false,
        cell: row => h('span', {class: 'with-dot'}, dot(row.workers_online > 0),
          accountLink(row.name))},
      {title: t('workers.title'), sort: 'workers', kind: 'number',
        cell: row => `${count(row.workers_online)} / ${count(row.workers)}`},
      {title: t('label.hashrate'), sort: 'hashrate', kind: 'number',
        cell: row => rate(row.hashrate)},
      {title: t('label.hashrate_24h'), sort: 'hashrate_24h',
        kind: 'number minor', cell: row => rate(row.hashrate_24h)},
      {title: t('label.rejected'), sort: 'reject_rate', kind: 'number minor',
        cell: row => percent(row.reject_rate)},
      {title: t('label.balance'), sort: 'balance', kind: 'number minor',
        cell: row => amount(row.balance)}
    ]
  });
}

/**
 * The pool as it was told last, the version that all modules are of, the page
 * that is shown, its place, how many were shown so far, and the last events,
 * oldest first.
 */
const state = {url: null, heardAt: Date.now(), pool: null, version: null,
  page: null, place: null, turns: 0, happenings: []};

/** Paths of the pages that have no name in them, but for that of the pool. */

const PAGES = {'/sign-in': signInPage, '/connect': connectPage,
  '/console': async () => (await loadConsole()).consolePage()};
const NAMED = /^\/(account|block)\/(.+)$/;

/** Only its reader loads it. */

function loadConsole() {
  return import('./console.js');
}

/** A part of the path; as it is where its escapes are no UTF-8, so that it is found to be nobody's. */

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (e) {
    return text;
  }
}

async function choosePage() {
  if (Object.hasOwn(PAGES, location.pathname))
    return PAGES[location.pathname]();

  if (location.hash === VIEW)
    return endedLinkPage();

  if (viewer.isLink && location.hash.startsWith(VIEW))
    return accountPage(viewer.account);

  const [, kind, rest] = NAMED.exec(location.pathname) || [];

  if (!kind)
    return poolPage();

  const worker = new URLSearchParams(location.search).get('worker');
  const pages = {block: blockPage, account: worker === null ? accountPage
    : account => workerPage(account, worker)};

  return pages[kind](decoded(rest));
}

function showLive() {
  const silent = Date.now() - state.heardAt > SILENT_MS;
  const live = $('live');

  live.classList.toggle('on', !silent);
  setText(live, t(silent ? 'page.lost' : 'page.live'));
  $('banner').hidden = !silent;

  if (silent)
    setText($('banner'), t('page.lost_long'));

  for (const time of document.querySelectorAll('time[data-time]'))
    setText(time, ago(Number(time.dataset.time)));
}

/** The part of the address that chooses a page. */

function place() {
  const {pathname, search, hash} = location;

  return pathname + search + (hash.startsWith(VIEW) ? hash : '');
}

/** Show the page of the address. */

async function showPage() {
  const turn = ++state.turns;

  state.place = place();

  const page = await choosePage();

  // Another link was followed meanwhile.
  if (turn !== state.turns)
    return;

  state.page = page;
  $('nav').replaceChildren(...page.sections.map(([id, text]) => {
    return h('a', {href: `#${id}`}, text);
  }));
  $('main').replaceChildren(page.element);

  if (state.pool)
    showPool();

  state.happenings.forEach(page.onHappening);
  page.fast();
  page.slow();
}

/** Turn to the page of the address, as if it were loaded. */

async function turn() {
  lookAgain();

  try {
    await showPage();
    $('main').focus({preventScroll: true});
  } catch (e) {
    // A module that cannot be loaded: the browser says why.
    location.reload();
  }
}

/** A link to another page is followed without loading everything anew. */

function follow(event) {
  const link = event.target.closest('a[href]');
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey
    && !event.shiftKey && !event.altKey;

  if (!link || !isPlain || event.defaultPrevented)
    return;

  // The modules are of another version than the server, or it is away.
  if (!state.pool || state.pool.version !== state.version)
    return;

  const {origin, pathname, hash, href} = link;
  const isPage = pathname === '/' || Object.hasOwn(PAGES, pathname)
    || NAMED.test(pathname);

  if (origin !== location.origin || !isPage || hash !== '')
    return;

  event.preventDefault();

  if (href !== location.href)
    history.pushState(null, '', href);

  scrollTo({top: 0, behavior: 'instant'});
  turn();
}

function showPool() {
  const {page, pool} = state;

  // Events have the same URL for all; the first answer has the one that this
  // browser used.
  state.url = state.url || pool.stratum_url;
  $('network').hidden = pool.network === 'main';
  setText($('network'), pool.network);
  setText($('version'), t('page.version', {
    version: pool.version, difficulty: difficulty(pool.network_difficulty),
    time: duration(pool.uptime_s)
  }));

  const title = page.title || (pool.sync ? partOfChain(pool.sync)
    : rate(pool.hashrate));
  document.title = `${title} · hstratum`;
  page.onPool(pool);
  showLive();
}

function listen() {
  const source = new EventSource('/api/v1/events');

  source.addEventListener('pool', (event) => {
    state.pool = JSON.parse(event.data);
    state.heardAt = Date.now();
    showPool();
  });

  source.addEventListener('happening', (event) => {
    const what = JSON.parse(event.data);

    state.happenings = [...state.happenings, what].slice(-EVENTS_SHOWN);
    state.page.onHappening(what);

    // Many come at once where the stream begins.
    if (what.kind === 'block') {
      clearTimeout(state.refresh);
      state.refresh = setTimeout(() => state.page.fast(), SOON_MS);
    }
  });

  // Also after the server was away, or another page has signed out.
  source.addEventListener('open', lookAgain);

  // A server that refuses, because too many listen, ends the source for good.
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CLOSED)
      setTimeout(listen, FAST_MS);
  });
}

/** Load all anew where somebody else looks now, or nobody is signed in any more. */

async function lookAgain() {
  const was = `${viewer.isOperator} ${viewer.account}`;
  const pool = await get('/api/v1/pool').catch(() => null);

  if (pool)
    await recognise(pool).catch(() => {});

  if (`${viewer.isOperator} ${viewer.account}` !== was)
    location.reload();
}

/** The texts of index.html, and the choice of their language. */

function showTexts() {
  for (const element of document.querySelectorAll('[data-text]'))
    setText(element, t(element.dataset.text));

  $('nav').setAttribute('aria-label', t('page.sections'));
  $('language').replaceChildren(languageControl());
}

async function start() {
  showTexts();
  takeLink();

  // A link that is opened where a page of this server is.
  addEventListener('hashchange', () => {
    if (location.hash.startsWith(VIEW))
      location.reload();
  });

  // Before the page, since it has the address as this browser reached it.
  state.pool = await get('/api/v1/pool').catch(() => null);

  if (state.pool) {
    state.version = state.pool.version;
    await recognise(state.pool).catch(() => {});
    $('session').replaceChildren(...sessionControl(state.pool));
  } else {
    state.heardAt = 0;
  }

  await showPage();

  // So that it is there when it is turned to.
  if (viewer.isOperator)
    loadConsole().catch(() => {});

  showLive();
  listen();
  every(FAST_MS, () => state.page.fast());
  every(SLOW_MS, () => state.page.slow());
  setInterval(showLive, 1000);
  document.addEventListener('click', follow);
  // Also where a section of the same page is linked.
  addEventListener('popstate', () => {
    if (place() !== state.place)
      turn();
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden)
      state.page.fast();
  });
}

/** Repeat it while the page is seen. */

function every(ms, run) {
  setInterval(() => {
    if (!document.hidden)
      run();
  }, ms);
}

start();
