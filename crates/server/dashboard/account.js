// One account's own page.

import {Chart} from './chart.js';
import {accountLink, get, h, name, setText} from './dom.js';
import {
  ago, ahead, amount, amountParts, count, date, difficulty, duration, number,
  percent, rateParts
} from './format.js';
import {t, word} from './language.js';
import {
  blocksTable, payoutsTable, stat, transaction, when, workersTable
} from './parts.js';
import {viewer} from './session.js';
import {settingsCard} from './settings.js';
import {Table} from './table.js';

export function accountPage(account) {
  const path = `/api/v1/accounts/${encodeURIComponent(account)}`;
  const now = stat(t('label.hashrate'), true);
  const hour = stat(t('own.last_hour'));
  const day = stat(t('own.last_day'));
  const workers = stat(t('own.workers'));
  const rejects = stat(t('own.rejected'));
  const pending = stat(t('own.pending'));
  const balance = stat(t('label.balance'));
  const paid = stat(t('own.paid'));
  const threshold = stat(t('own.threshold'));
  const round = stat(t('own.round'));
  const found = stat(t('own.if_found'));
  const perDay = stat(t('own.per_day'));
  const best = stat(t('label.best_share'));
  const expected = stat(t('own.alone'));
  const odds = stat(t('own.odds'));
  const luck = stat(t('own.luck'));
  const address = h('p', {class: 'faint wrap'});
  const later = h('p', {class: 'faint wrap'});
  const problem = h('p', {class: 'empty', hidden: true});
  const payment = h('p', {class: 'faint payment'});
  const chart = new Chart({
    title: t('label.hashrate'), path: `${path}/history`
  });
  const own = {account};
  const state = {account: null, pool: null};
  const tables = [
    workersTable(own, t('own.no_worker')),
    creditsTable(path),
    payoutsTable(own),
    blocksTable(own, t('own.no_block'))
  ];

  const content = h('div', {},
    h('div', {class: 'stats'}, [now, hour, day, workers, rejects, round]
      .map(one => one.element)),
    h('div', {class: 'stats money'},
      [pending, balance, threshold, paid, found, perDay]
        .map(one => one.element)),
    payment,
    h('div', {class: 'stats'}, [best, expected, odds, luck]
      .map(one => one.element)),
    chart.element, tables.map(table => table.element));
  const isOwn = account === viewer.account;
  const settings = isOwn && !viewer.isLink ? settingsCard(refresh) : null;
  const note = isOwn && viewer.isLink
    ? h('p', {class: 'note'}, t('link.means')) : null;

  const element = h('div', {},
    h('div', {class: 'title'}, h('a', {href: '/', class: 'back'},
      t('pool.back')), h('h1', {}, name(account)), address, later),
    note, problem, content, settings && settings.element);

  async function refresh() {
    for (const table of tables)
      table.refresh();

    try {
      const data = await get(path);

      now.set(...rateParts(data.hashrate));
      hour.set(...rateParts(data.hashrate_1h));
      day.set(...rateParts(data.hashrate_24h));
      workers.set(count(data.workers_online),
        t('own.workers_of', {number: count(data.workers)}));
      rejects.set(percent(data.reject_rate));

      for (const [one, units] of [[pending, data.pending],
        [balance, data.balance], [threshold, data.threshold],
        [paid, data.paid], [found, data.if_found_now],
        [perDay, rounded(data.per_day)]])
        one.set(...amountParts(units));

      const age = data.estimates_age_s === null ? t('own.age_unknown')
        : t('own.age', {time: duration(data.estimates_age_s)});

      pending.element.title = t('own.pending_means', {age});
      found.element.title = t('own.if_found_means', {age});
      perDay.element.title = t('own.per_day_means', {age});

      best.set(difficulty(data.best_share), data.best_share_at === null ? ''
        : ago(data.best_share_at));
      best.element.title = t('own.best_share_means');
      expected.set(data.block_expected_s === null ? '–'
        : duration(data.block_expected_s));
      odds.set(percent(data.block_odds_day));
      luck.set(data.blocks_expected_month > 0
        ? percent(data.blocks_month / data.blocks_expected_month) : '–');
      luck.element.title = t('own.luck_means', {
        found: count(data.blocks_month),
        expected: number(Number(data.blocks_expected_month.toPrecision(3)))
      });

      for (const one of [expected, odds])
        one.element.title = t('own.alone_means');

      round.set(percent(data.round_share));
      state.account = data;

      if (settings)
        settings.update(data);

      setText(payment, paymentText(state));
      setText(address, data.address
        ? t('own.paid_at', {address: data.address})
        : t('own.last_share', {time: ago(data.last_share_at)}));
      setText(later, laterText(data.next_address));
      problem.hidden = true;
      content.hidden = false;
    } catch (e) {
      if (e.status === 401) {
        setText(problem, e.message);
        problem.hidden = false;
        content.hidden = true;
      } else if (e.status === 404) {
        setText(problem, t('own.nobody'));
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

/** One of its workers: its numbers, and its own chart. */

export function workerPage(account, worker) {
  const path = `/api/v1/accounts/${encodeURIComponent(account)}/history`;
  const query = new URLSearchParams({account, worker});
  const now = stat(t('label.hashrate'), true);
  const hour = stat(t('own.last_hour'));
  const day = stat(t('own.last_day'));
  const met = stat(t('label.difficulty'));
  const rejects = stat(t('own.rejected'));
  const best = stat(t('label.best_share'));
  const last = stat(t('label.last_share'));
  const stats = h('div', {class: 'stats', hidden: true},
    [now, hour, day, met, rejects, best, last].map(one => one.element));
  const problem = h('p', {class: 'empty', role: 'status'});
  const chart = new Chart({title: t('label.hashrate'), path, params: {worker}});

  async function refresh() {
    try {
      const {workers: [row]} = await get(`/api/v1/workers?${query}`);

      stats.hidden = !row;
      setText(problem, row ? '' : t('worker.unseen'));

      if (!row)
        return;

      now.set(...rateParts(row.hashrate));
      hour.set(...rateParts(row.hashrate_1h));
      day.set(...rateParts(row.hashrate_24h));
      met.set(row.sends_blocks ? t('worker.blocks_only')
        : difficulty(row.difficulty));
      rejects.set(percent(row.reject_rate));
      best.set(difficulty(row.best_share));
      last.set(ago(row.last_share_at));
    } catch (e) {
      if (e.status)
        setText(problem, e.message);
    }
  }

  return {
    element: h('div', {}, h('div', {class: 'title'},
      accountLink(account), h('h1', {}, name(worker))),
    problem, stats, chart.element),
    title: worker || t('text.no_name'),
    sections: [],
    fast: refresh,
    slow: () => chart.refresh(),
    onPool() {},
    onHappening() {}
  };
}

/** Where the account will be paid, for the operator: the owner's card says it. */

function laterText(next) {
  if (next === null || !viewer.isOperator)
    return '';

  return t('own.paid_later', {
    address: next.address, date: date(next.holds_at), time: ahead(next.holds_at)
  });
}

/** When the account is paid, as far as that is known. */

function paymentText({account, pool}) {
  if (pool && pool.payout_state === 'failed')
    return t('own.payout_failed');

  if (pool && pool.payout_state === 'paused')
    return t('own.payout_paused');

  if (!account || account.next_payment_at === null)
    return '';

  if (account.next_payment_reaches === null)
    return '';

  return t(account.next_payment_reaches ? 'own.next_reaches'
    : 'own.next_stays', {time: ahead(account.next_payment_at)});
}

/** What is only expected has four digits. */

function rounded(units) {
  return units === null ? null : Number(units.toPrecision(4));
}

/** What each block brought. */

function creditsTable(path) {
  return new Table({
    id: 'credits', title: t('credits.title'), path: `${path}/credits`,
    key: 'credits', limit: 10, empty: t('credits.none'),
    // A browser that follows it does not say by which link.
    note: viewer.isLink ? null : h('a', {
      href: `${path}/credits?format=csv&limit=500`, download: ''
    }, t('credits.csv')),
    columns: [
      {title: t('block.title'), cell: row => h('span', {title: row.block},
        count(row.height))},
      {title: t('block.found'), kind: 'minor', cell: row => when(row.found_at)},
      {title: t('block.state'), cell: row => h('span', {
        class: `state ${row.state}`, title: word('credit_means', row.state)
      }, word('state', row.state))},
      {title: t('label.amount'), kind: 'number',
        cell: row => amount(row.amount)},
      {title: t('credits.paid'), kind: 'minor', cell: row => when(row.paid_at)},
      {title: t('label.transaction'), kind: 'minor',
        cell: row => transaction(row)}
    ]
  });
}
