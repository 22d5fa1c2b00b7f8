// One account's own page.

import {Chart} from './chart.js';
import {get, h, name, setText} from './dom.js';
import {
  ago, amount, amountParts, count, date, duration, percent, rateParts, shortHash
} from './format.js';
import {blocksTable, stat, workersTable} from './parts.js';
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
  const address = h('p', {class: 'faint wrap'});
  const problem = h('p', {class: 'empty', hidden: true});
  const chart = new Chart({title: 'Hashrate', path: `${path}/history`});
  const own = {account};
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
    chart.element, tables.map(table => table.element));

  const element = h('div', {},
    h('div', {class: 'title'}, h('a', {href: '/', class: 'back'}, '← Pool'),
      h('h1', {}, name(account)), address), problem, content);

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

      round.set(percent(data.round_share));
      setText(address, data.address ? `Paid at ${data.address}`
        : `Last share ${ago(data.last_share_at)}`);
      problem.hidden = true;
      content.hidden = false;
    } catch (e) {
      if (e.status === 404) {
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
    onPool() {},
    onHappening(what) {
      if (what.kind === 'block')
        refresh();
    }
  };
}

const PENDING = 'Its part of the blocks on the main chain that are not divided '
  + 'yet. It becomes balance if they stay there.';
const FOUND_NOW = 'Its part of a block if the pool found it now.';
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
  pending: 'The block is not divided yet',
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
      {title: 'Transaction', kind: 'minor', cell: row => transaction(row)}
    ]
  });
}
