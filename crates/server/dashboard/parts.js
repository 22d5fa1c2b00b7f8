// Parts that both pages use.

import {accountLink, h, name, setText, workerLink} from './dom.js';
import {
  ago, amount, count, date, difficulty, duration, millis, percent, rate,
  shortHash
} from './format.js';
import {
  LANGUAGES, chooseLanguage, language, t, word
} from './language.js';
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

/** A choice of the language by hand, each by its own name. */

export function languageControl() {
  return h('select', {
    'aria-label': t('page.language'),
    onchange: event => chooseLanguage(event.target.value)
  }, Object.entries(LANGUAGES).map(([value, {name, locale: lang}]) => {
    return h('option', {value, lang, selected: value === language}, name);
  }));
}

export function workersTable(params, empty) {
  const ofAll = !params.account;
  const who = {
    title: t('label.account'), sort: 'name', descending: false,
    cell: row => accountLink(row.account)
  };

  return new Table({
    id: 'workers', title: t('workers.title'), path: '/api/v1/workers',
    key: 'workers', params, empty, search: t('workers.find'), sort: 'hashrate',
    columns: [
      ...(ofAll ? [who] : []),
      {title: t('label.worker'), sort: ofAll ? null : 'name', descending: false,
        cell: row => h('span', {
          class: 'with-dot', title: row.servers.join(', ') || null
        }, dot(row.servers.length > 0), workerLink(row.account, row.worker))},
      {title: t('label.hashrate'), sort: 'hashrate', kind: 'number',
        cell: row => rate(row.hashrate)},
      {title: t('label.hashrate_1h'), sort: 'hashrate_1h', kind: 'number minor',
        cell: row => rate(row.hashrate_1h)},
      {title: t('label.hashrate_24h'), sort: 'hashrate_24h',
        kind: 'number minor', cell: row => rate(row.hashrate_24h)},
      {title: t('label.difficulty'), sort: 'difficulty', kind: 'number minor',
        cell: row => row.sends_blocks ? h('span', {
          title: t('worker.blocks_only_means')
        }, t('worker.blocks_only')) : difficulty(row.difficulty)},
      {title: t('label.rejected'), sort: 'reject_rate', kind: 'number',
        cell: row => rejected(row)},
      {title: t('label.best_share'), sort: 'best_share', kind: 'number minor',
        cell: row => difficulty(row.best_share)},
      {title: t('label.last_share'), sort: 'last_share', kind: 'number minor',
        cell: row => ago(row.last_share_at)}
    ]
  });
}

export function dot(isOn) {
  const title = t(isOn ? 'worker.online' : 'worker.away');

  return h('span', {
    class: isOn ? 'dot on' : 'dot', role: 'img', 'aria-label': title, title
  });
}

const HIGH_REJECTS = 0.02;

function rejected({reject_rate: part, shares}) {
  const title = t('worker.rejected', {
    stale: count(shares.stale), low: count(shares.low),
    duplicate: count(shares.duplicate)
  });

  return h('span', {title, class: part > HIGH_REJECTS ? 'bad' : null},
    percent(part));
}

export function blocksTable(params, empty) {
  return new Table({
    id: 'blocks', title: t('blocks.title'), path: '/api/v1/blocks',
    key: 'blocks', params, empty, limit: 10, columns: blockColumns(!params.account)
  });
}

/** What is said of a block. `ofAll` is false on the page of its finder. */

export function blockColumns(ofAll) {
  return [
    {title: t('block.height'), cell: row => h('a', {
      href: `/block/${row.hash}`
    }, count(row.height))},
    {title: t('block.state'), cell: row => h('span', {
      class: `state ${row.state}`, title: row.reason || confirmed(row)
    }, stateOf(row))},
    {title: t('block.pays'), kind: 'minor',
      isShown: ({payouts}) => payouts.some(name => name !== 'operator'),
      cell: row => h('span', {
        title: word('payout_means', row.payout)
      }, word('payout', row.payout))},
    {title: t('block.found'), cell: row => h('span', {
      title: date(row.found_at)
    }, ago(row.found_at))},
    ...(ofAll ? [{title: t('block.by'), kind: 'minor', cell: (row) => {
      return row.account === null ? '–' : accountLink(row.account);
    }}] : []),
    {title: t('block.effort'), kind: 'number', cell: row => effort(row.effort)},
    {title: t('block.reward'), kind: 'number minor',
      cell: row => amount(row.reward)},
    {title: t('block.hash'), kind: 'minor', cell: row => blockLink(row,
      h('code', {title: row.hash}, row.hash.slice(-8)))},
    {title: t('block.first_asked'), kind: 'number minor',
      cell: row => race(row.race)}
  ];
}

/** A block's state; with its confirmations, until its reward can be spent. */

function stateOf({state, confirmations}) {
  return state === 'accepted' && confirmations !== null
    ? t('block.accepted', {state: word('state', state),
      number: count(confirmations)})
    : word('state', state);
}

function confirmed({confirmations}) {
  return confirmations === null ? null
    : t('block.confirmed', {number: count(confirmations)});
}

/** How soon a peer asked for a block, and its rival. */

function race(told) {
  if (told === null)
    return '–';

  const {announced_ms: announced, peers, asked_ms: asked,
    asked_within_1s: many, rival, rival_ms: at} = told;
  const title = [
    announced === null ? t('race.not_announced')
      : t('race.announced', {count: peers, time: millis(announced)}),
    ...(announced === null || many === null ? []
      : [t('race.asked', {count: many, time: duration(1)})]),
    rival === null ? t('race.no_rival')
      : t('race.rival', {hash: rival, time: signed(at)})
  ].join(t('text.semicolon'));

  return h('span', {title}, asked === null ? '–' : millis(asked),
    ...(rival === null ? [] : [' ', h('span', {class: 'bad'},
      t('race.rival_short', {time: signed(at)}))]));
}

function signed(ms) {
  return `${ms < 0 ? '−' : '+'}${millis(Math.abs(ms))}`;
}

/** The servers that share the ledger. */

export function serversTable() {
  return new Table({
    id: 'servers', title: t('servers.title'), path: '/api/v1/servers',
    key: 'servers', empty: t('servers.none'),
    columns: [
      {title: t('label.server'), cell: row => h('span', {class: 'with-dot'},
        dot(row.is_alive), name(row.name))},
      {title: t('block.state'), cell: row => h('span', {
        class: row.is_alive && row.has_job ? null : 'bad'
      }, serverState(row))},
      {title: t('label.hashrate'), kind: 'number',
        cell: row => row.is_alive ? rate(row.hashrate) : '–'},
      {title: t('workers.title'), kind: 'number',
        cell: row => row.is_alive ? count(row.workers) : '–'},
      {title: t('block.height'), kind: 'number minor',
        cell: row => count(row.tip)},
      {title: t('server.shipped'), kind: 'number minor',
        cell: row => count(row.shipped_tip)},
      {title: t('server.behind'), kind: 'number', cell: row => h('span', {
        title: t('server.behind_means')
      }, count(row.behind))}
    ]
  });
}

/** Logins that were refused: the reason why a machine does not mine. */

export function refusalsTable() {
  return new Table({
    id: 'refusals', title: t('refusals.title'), path: '/api/v1/refusals',
    key: 'refusals', empty: t('refusals.none'),
    columns: [
      {title: t('refusals.name'), cell: row => name(row.name)},
      {title: t('refusals.why'), cell: row => reasons(row.reasons)},
      {title: t('refusals.logins'), kind: 'number',
        cell: row => count(row.count)},
      {title: t('refusals.last'), kind: 'number', cell: row => h('span', {
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
  const texts = all.map(([code, number]) => {
    const reason = word('refused', code);
    return all.length > 1
      ? t('refusals.several', {reason, number: count(number)}) : reason;
  });

  return texts.join(t('text.comma'));
}

function serverState(row) {
  if (!row.is_alive)
    return t('server.away', {time: duration(row.seen_s_ago)});

  if (row.is_draining)
    return t('server.draining');

  return row.has_job ? '' : t('server.no_job');
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

export function when(time) {
  return time === null ? '–' : h('span', {title: date(time)}, ago(time));
}

export function transaction({txid}) {
  return txid ? h('code', {title: txid}, shortHash(txid)) : '–';
}

export function payoutsTable(params) {
  return new Table({
    title: t('payouts.title'), path: '/api/v1/payouts', key: 'payouts', params,
    empty: t('payouts.none'),
    columns: [
      {title: t('payouts.when'), cell: row => when(row.created_at)},
      {title: t('block.state'), cell: row => h('span', {
        class: `state ${row.state}`
      }, word('state', row.state))},
      {title: t('label.amount'), kind: 'number',
        cell: row => amount(row.amount)},
      {title: t('payouts.by'), kind: 'minor', cell: row => row.block
        ? h('a', {href: `/block/${row.block}`}, t('payouts.block'))
        : t('payouts.wallet')},
      {title: t('label.transaction'), kind: 'minor',
        cell: row => transaction(row)}
    ]
  });
}
