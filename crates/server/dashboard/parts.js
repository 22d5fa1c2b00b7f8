// Parts that both pages use.

import {accountLink, h, name, setText} from './dom.js';
import {
  ago, amount, count, date, difficulty, duration, percent, rate
} from './format.js';
import {Table} from './table.js';

/** A number with its label; `set` takes the number and its unit. */

export function stat(label, isLarge = false) {
  const number = h('span', {class: 'number'}, '–');
  const unit = h('span', {class: 'unit'});
  const element = h('div', {class: isLarge ? 'stat large' : 'stat'},
    h('div', {class: 'label'}, label),
    h('div', {class: 'value'}, number, ' ', unit));

  return {
    element,
    set(value, of = '') {
      setText(number, value);
      setText(unit, of);
    }
  };
}

export function workersTable(params, empty) {
  const ofAll = !params.account;
  const who = {
    title: 'Account', sort: 'name', descending: false,
    cell: row => accountLink(row.account)
  };

  return new Table({
    id: 'workers', title: 'Workers', path: '/api/v1/workers', key: 'workers',
    params, empty, search: 'Find a worker', sort: 'hashrate',
    columns: [
      ...(ofAll ? [who] : []),
      {title: 'Worker', sort: ofAll ? null : 'name', descending: false,
        cell: row => h('span', {
          class: 'with-dot', title: row.servers.join(', ') || null
        }, dot(row.servers.length > 0), name(row.worker))},
      {title: 'Hashrate', sort: 'hashrate', kind: 'number',
        cell: row => rate(row.hashrate)},
      {title: '1 h', sort: 'hashrate_1h', kind: 'number minor',
        cell: row => rate(row.hashrate_1h)},
      {title: '24 h', sort: 'hashrate_24h', kind: 'number minor',
        cell: row => rate(row.hashrate_24h)},
      {title: 'Difficulty', sort: 'difficulty', kind: 'number minor',
        cell: row => row.sends_blocks ? h('span', {
          title: 'It sends blocks only: its hashrate is known from its blocks alone'
        }, 'blocks only') : difficulty(row.difficulty)},
      {title: 'Rejected', sort: 'reject_rate', kind: 'number',
        cell: row => rejected(row)},
      {title: 'Last share', sort: 'last_share', kind: 'number minor',
        cell: row => ago(row.last_share_at)}
    ]
  });
}

export function dot(isOn) {
  return h('span', {
    class: isOn ? 'dot on' : 'dot', role: 'img',
    'aria-label': isOn ? 'online' : 'away', title: isOn ? 'online' : 'away'
  });
}

const HIGH_REJECTS = 0.02;

function rejected({reject_rate: part, shares}) {
  const title = `${count(shares.stale)} stale, ${count(shares.low)} low, `
    + `${count(shares.duplicate)} duplicate of the last hour`;

  return h('span', {title, class: part > HIGH_REJECTS ? 'bad' : null},
    percent(part));
}

export function blocksTable(params, empty) {
  return new Table({
    id: 'blocks', title: 'Blocks', path: '/api/v1/blocks', key: 'blocks',
    params, empty, limit: 10, columns: blockColumns(!params.account)
  });
}

/** What is said of a block. `ofAll` is false on the page of its finder. */

export function blockColumns(ofAll) {
  return [
    {title: 'Height', cell: row => h('a', {href: `/block/${row.hash}`},
      count(row.height))},
    {title: 'State', cell: row => h('span', {
      class: `state ${row.state}`, title: row.reason || null
    }, row.state)},
    {title: 'Pays', kind: 'minor',
      isShown: ({payouts}) => payouts.some(name => name !== 'operator'),
      cell: row => h('span', {
        title: PAYOUTS[row.payout]
      }, row.payout)},
    {title: 'Found', cell: row => h('span', {title: date(row.found_at)},
      ago(row.found_at))},
    ...(ofAll ? [{title: 'By', kind: 'minor', cell: row => row.account === null ? '–'
      : accountLink(row.account)}] : []),
    {title: 'Effort', kind: 'number', cell: row => effort(row.effort)},
    {title: 'Reward', kind: 'number minor', cell: row => amount(row.reward)},
    {title: 'Hash', kind: 'minor', cell: row => blockLink(row,
      h('code', {title: row.hash}, row.hash.slice(-8)))},
    {title: 'First asked', kind: 'number minor', cell: row => race(row.race)}
  ];
}

const PAYOUTS = {
  operator: 'The operator, who divides it',
  solo: 'Its finder, by its coinbase',
  split: 'The accounts, by its coinbase'
};

/** How soon a peer asked for a block, and its rival. */

function race(told) {
  if (told === null)
    return '–';

  const {announced_ms: announced, peers, asked_ms: asked,
    asked_within_1s: many, rival, rival_ms: at} = told;
  const seen = rival === null ? 'no rival seen'
    : `rival ${rival} seen ${signed(at)} from the solution`;
  const title = announced === null ? `not announced; ${seen}`
    : `announced to ${peers === 1 ? '1 peer' : `${peers} peers`} after `
      + `${millis(announced)}; `
      + `${many === null ? '' : `${many} asked within 1 s; `}${seen}`;

  return h('span', {title}, asked === null ? '–' : millis(asked),
    rival === null ? null : h('span', {class: 'bad'}, ` rival ${signed(at)}`));
}

function millis(ms) {
  return Math.abs(ms) < 1000 ? `${ms.toFixed(Math.abs(ms) < 10 ? 1 : 0)} ms`
    : `${(ms / 1000).toFixed(1)} s`;
}

function signed(ms) {
  return `${ms < 0 ? '−' : '+'}${millis(Math.abs(ms))}`;
}

/** The servers that share the ledger. */

export function serversTable() {
  return new Table({
    id: 'servers', title: 'Servers', path: '/api/v1/servers', key: 'servers',
    empty: 'No server.',
    columns: [
      {title: 'Server', cell: row => h('span', {class: 'with-dot'},
        dot(row.is_alive), name(row.name))},
      {title: '', cell: row => h('span', {
        class: row.is_alive && row.has_job ? null : 'bad'
      }, serverState(row))},
      {title: 'Hashrate', kind: 'number',
        cell: row => row.is_alive ? rate(row.hashrate) : '–'},
      {title: 'Workers', kind: 'number',
        cell: row => row.is_alive ? count(row.workers) : '–'},
      {title: 'Height', kind: 'number minor', cell: row => count(row.tip)},
      {title: 'Shipped up to', kind: 'number minor',
        cell: row => count(row.shipped_tip)},
      {title: 'Behind', kind: 'number', cell: row => h('span', {
        title: 'Batches of shares that are not in the shared ledger yet'
      }, count(row.behind))}
    ]
  });
}

const REFUSED = {
  wrong_password: 'wrong password',
  unknown_user: 'no such user',
  no_address: 'no address that can be paid',
  disabled: 'the account is disabled',
  admin_password: 'wrong password of the admin',
  no_admin: 'no password of an admin is set',
  guesses: 'too many wrong passwords of the admin',
  names: 'too many names on a connection',
  proof: 'a proxy with another secret',
  malformed: 'no name, or too long'
};

/** Logins that were refused: the reason why a machine does not mine. */

export function refusalsTable() {
  return new Table({
    id: 'refusals', title: 'Refused logins', path: '/api/v1/refusals',
    key: 'refusals', empty: 'None.',
    columns: [
      {title: 'Last name', cell: row => name(row.name)},
      {title: 'Why', cell: row => reasons(row.reasons)},
      {title: 'Logins', kind: 'number', cell: row => count(row.count)},
      {title: 'Last', kind: 'number', cell: row => h('span', {
        title: date(row.last)
      }, ago(row.last))}
    ]
  });
}

/**
 * Reasons, the most frequent first, with their numbers if there are several.
 */

function reasons(counts) {
  const all = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  const texts = all.map(([reason, number]) => {
    const text = REFUSED[reason] || reason;
    return all.length > 1 ? `${text}: ${count(number)}` : text;
  });

  return texts.join(', ');
}

function serverState(row) {
  if (!row.is_alive)
    return `away, seen ${duration(row.seen_s_ago)} ago`;

  if (row.is_draining)
    return 'draining';

  return row.has_job ? '' : 'no job';
}

export function blockLink({link}, text) {
  return link ? h('a', {href: link, rel: 'noreferrer', target: '_blank'}, text)
    : h('span', {}, text);
}

export function effort(value) {
  if (value === null || value === undefined)
    return '–';

  return h('span', {class: value <= 1 ? 'good' : null}, percent(value));
}
