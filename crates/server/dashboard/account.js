// One account's own page.

import {Chart} from './chart.js';
import {get, h, name, setText} from './dom.js';
import {ago, amount, count, date, percent, rateParts, shortHash} from './format.js';
import {blocksTable, stat, workersTable} from './parts.js';
import {Table} from './table.js';

export function accountPage(account) {
  const path = `/api/v1/accounts/${encodeURIComponent(account)}`;
  const now = stat('Hashrate', true);
  const hour = stat('Last hour');
  const day = stat('Last day');
  const workers = stat('Workers online');
  const rejects = stat('Rejected, last hour');
  const balance = stat('Balance');
  const paid = stat('Paid');
  const round = stat('Of the open round');
  const address = h('p', {class: 'faint wrap'});
  const problem = h('p', {class: 'empty', hidden: true});
  const chart = new Chart({title: 'Hashrate', path: `${path}/history`});
  const own = {account};
  const tables = [
    workersTable(own, 'This account has no worker now.'),
    payoutsTable(own),
    blocksTable(own, 'No block was found by this account’s shares yet.')
  ];

  const found = h('div', {},
    h('div', {class: 'stats'}, [now, hour, day, workers, rejects, balance, paid,
      round].map(one => one.element)),
    chart.element, tables.map(table => table.element));

  const element = h('div', {},
    h('div', {class: 'title'}, h('a', {href: '/', class: 'back'}, '← Pool'),
      h('h1', {}, name(account)), address), problem, found);

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
      balance.set(amount(data.balance));
      paid.set(amount(data.paid));
      round.set(percent(data.round_share));
      setText(address, data.address ? `Paid at ${data.address}`
        : `Last share ${ago(data.last_share_at)}`);
      problem.hidden = true;
      found.hidden = false;
    } catch (e) {
      if (e.status === 404) {
        setText(problem, 'Nobody of this name has mined here. A name is what '
          + 'stands before the first dot of a miner’s user.');
        problem.hidden = false;
        found.hidden = true;
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

function payoutsTable(params) {
  return new Table({
    title: 'Payouts', path: '/api/v1/payouts', key: 'payouts', params,
    empty: 'Nothing was paid yet.',
    columns: [
      {title: 'When', cell: row => h('span', {title: date(row.created_at)},
        ago(row.created_at))},
      {title: 'State', cell: row => h('span', {class: `state ${row.state}`},
        row.state)},
      {title: 'Amount', kind: 'number', cell: row => amount(row.amount)},
      {title: 'Transaction', kind: 'minor', cell: row => row.txid
        ? h('code', {title: row.txid}, shortHash(row.txid)) : '–'}
    ]
  });
}
