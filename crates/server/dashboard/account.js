// One account's own page.

import {Chart} from './chart.js';
import {get, h, name, setText} from './dom.js';
import {
  ago, ahead, amount, amountParts, count, date, difficulty, duration, percent,
  rateParts, shortHash
} from './format.js';
import {blocksTable, stat, workersTable} from './parts.js';
import {settingsCard, viewer} from './session.js';
import {Table} from './table.js';

export function accountPage(account) {
  const path = `/api/v1/accounts/${encodeURIComponent(account)}`;
  const now = stat('Hashrate', true);
  const hour = stat('Last hour');
  const day = stat('Last day');
  const workers = stat('Workers online');
  const rejects = stat('Rejected, last hour');
  const pending = stat('Pending');
  const balance = stat('Balance');
  const paid = stat('Paid');
  const threshold = stat('Threshold');
  const round = stat('Of the open round');
  const found = stat('If found now');
  const perDay = stat('Expected per day');
  const best = stat('Best share');
  const expected = stat('A block alone takes');
  const odds = stat('Odds of a block in a day');
  const address = h('p', {class: 'faint wrap'});
  const problem = h('p', {class: 'empty', hidden: true});
  const payment = h('p', {class: 'faint payment'});
  const chart = new Chart({title: 'Hashrate', path: `${path}/history`});
  const own = {account};
  const state = {account: null, pool: null};
  const tables = [
    workersTable(own, 'This account has no worker now.'),
    creditsTable(path),
    payoutsTable(own),
    blocksTable(own, 'No block was found by this account’s shares yet.')
  ];

  const content = h('div', {},
    h('div', {class: 'stats'}, [now, hour, day, workers, rejects, round]
      .map(one => one.element)),
    h('div', {class: 'stats money'},
      [pending, balance, threshold, paid, found, perDay]
        .map(one => one.element)),
    payment,
    h('div', {class: 'stats'}, [best, expected, odds].map(one => one.element)),
    chart.element, tables.map(table => table.element));
  const settings = account === viewer.account ? settingsCard() : null;

  const element = h('div', {},
    h('div', {class: 'title'}, h('a', {href: '/', class: 'back'}, '← Pool'),
      h('h1', {}, name(account)), address), problem, content, settings);

  async function refresh() {
    for (const table of tables)
      table.refresh();

    try {
      const data = await get(path);

      now.set(...rateParts(data.hashrate));
      hour.set(...rateParts(data.hashrate_1h));
      day.set(...rateParts(data.hashrate_24h));
      workers.set(`${count(data.workers_online)}`, `of ${count(data.workers)}`);
      rejects.set(percent(data.reject_rate));

      for (const [one, units] of [[pending, data.pending],
        [balance, data.balance], [threshold, data.threshold],
        [paid, data.paid], [found, data.if_found_now],
        [perDay, rounded(data.per_day)]])
        one.set(...amountParts(units));

      for (const [one, meaning] of [[pending, PENDING], [found, FOUND_NOW],
        [perDay, PER_DAY]])
        one.element.title = `${meaning} ${age(data.estimates_age_s)}`;

      best.set(difficulty(data.best_share));
      best.element.title = BEST_SHARE;
      expected.set(data.block_expected_s === null ? '–'
        : duration(data.block_expected_s));
      odds.set(percent(data.block_odds_day));

      for (const one of [expected, odds])
        one.element.title = ALONE;

      round.set(percent(data.round_share));
      state.account = data;
      setText(payment, paymentText(state));
      setText(address, data.address ? `Paid at ${data.address}`
        : `Last share ${ago(data.last_share_at)}`);
      problem.hidden = true;
      content.hidden = false;
    } catch (e) {
      if (e.status === 401) {
        setText(problem, e.message);
        problem.hidden = false;
        content.hidden = true;
      } else if (e.status === 404) {
        setText(problem, 'Nobody of this name has mined here. A name is what '
          + 'stands before the first dot of a miner’s user.');
        problem.hidden = false;
        content.hidden = true;
      }
    }
  }

  return {
    element,
    title: account,
    sections: [],
    fast: refresh,
    slow: () => chart.refresh(),
    onPool(pool) {
      state.pool = pool;
      setText(payment, paymentText(state));
    },
    onHappening() {}
  };
}

/** When the account is paid, as far as that is known. */

function paymentText({account, pool}) {
  if (pool && pool.payout_state === 'failed')
    return 'The last payout failed. Nothing is lost, and it is tried again.';

  if (pool && pool.payout_state === 'paused')
    return 'Payouts are paused by the owner of the pool.';

  if (!account || account.next_payment_at === null)
    return '';

  const next = `Next payment ${ahead(account.next_payment_at)}: `;

  if (account.next_payment_reaches === null)
    return '';

  return next + (account.next_payment_reaches
    ? 'this account has reached its threshold by then.'
    : 'this account stays below its threshold, and its balance is kept.');
}

const PENDING = 'Its part of the blocks on the main chain that are not divided '
  + 'yet. It becomes balance if they stay there.';
const FOUND_NOW = 'Its part of a block if the pool found it now.';
const BEST_SHARE = 'The greatest difficulty that a share of it has met since '
  + 'this server started. At the network\'s difficulty it is a block.';
const ALONE = 'At its own hashrate of the last day, on average, and at the '
  + 'network\'s difficulty now.';
const PER_DAY = 'At its hashrate of the last day, less the pool\'s fee. Luck '
  + 'makes it more or less.';

/** What is only expected has four digits. */

function rounded(units) {
  return units === null ? null : Number(units.toPrecision(4));
}

function age(seconds) {
  return seconds === null ? 'Not known now.'
    : `As of ${duration(seconds)} ago.`;
}

/** What each block brought. */

function creditsTable(path) {
  return new Table({
    id: 'credits', title: 'Credits', path: `${path}/credits`, key: 'credits',
    limit: 10, empty: 'No block has brought anything yet.',
    note: h('a', {href: `${path}/credits?format=csv&limit=500`, download: ''},
      'CSV'),
    columns: [
      {title: 'Block', cell: row => h('span', {title: row.block},
        count(row.height))},
      {title: 'Found', kind: 'minor', cell: row => when(row.found_at)},
      {title: 'State', cell: row => h('span', {
        class: `state ${row.state}`, title: CREDIT_STATES[row.state]
      }, row.state)},
      {title: 'Amount', kind: 'number', cell: row => amount(row.amount)},
      {title: 'Paid', kind: 'minor', cell: row => when(row.paid_at)},
      {title: 'Transaction', kind: 'minor', cell: row => transaction(row)}
    ]
  });
}

const CREDIT_STATES = {
  pending: 'The reward of the block cannot be spent yet',
  owed: 'It is in the balance',
  paying: 'A payment is on its way',
  paid: 'It is paid',
  reversed: 'The block was lost after it had been divided'
};

function when(time) {
  return time === null ? '–' : h('span', {title: date(time)}, ago(time));
}

function transaction({txid}) {
  return txid ? h('code', {title: txid}, shortHash(txid)) : '–';
}

function payoutsTable(params) {
  return new Table({
    title: 'Payouts', path: '/api/v1/payouts', key: 'payouts', params,
    empty: 'Nothing was paid yet.',
    columns: [
      {title: 'When', cell: row => when(row.created_at)},
      {title: 'State', cell: row => h('span', {class: `state ${row.state}`},
        row.state)},
      {title: 'Amount', kind: 'number', cell: row => amount(row.amount)},
      {title: 'By', kind: 'minor', cell: row => row.block
        ? h('a', {href: `/block/${row.block}`}, 'a block itself') : 'the wallet'},
      {title: 'Transaction', kind: 'minor', cell: row => transaction(row)}
    ]
  });
}
