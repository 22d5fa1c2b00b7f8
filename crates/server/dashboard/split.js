// Who is paid what by a block: the page of a block, and the card of the next.

import {accountLink, h, renew, setText} from './dom.js';
import {amount, count} from './format.js';
import {t} from './language.js';
import {blockColumns, blockLink} from './parts.js';
import {Table} from './table.js';

/** The lines of a split; `inCoinbase(answer)` is false where it pays none. */

function linesTable(options) {
  const isShown = options.inCoinbase;

  return new Table({
    id: 'split', title: t('split.title'), key: 'lines', limit: 10, ...options,
    columns: [
      {title: t('label.account'), cell: row => accountLink(row.account)},
      {title: t('split.part'), kind: 'number', cell: row => h('span', {
        title: t('split.part_means')
      }, amount(row.part))},
      {title: t('split.paid'), kind: 'number', isShown,
        cell: row => h('span', {title: paidTitle(row)},
          row.paid > 0 ? amount(row.paid) : '–')},
      {title: t('label.address'), kind: 'minor', isShown,
        cell: row => h('code', {class: 'wrap'}, row.address || '–')}
    ]
  });
}

function paidTitle({part, paid}) {
  if (paid === 0)
    return t('split.paid_none');

  if (paid > part)
    return t('split.paid_more', {amount: amount(paid - part)});

  return paid < part
    ? t('split.paid_less', {amount: amount(part - paid)}) : '';
}

/** What the next block pays, shown where blocks pay accounts. */

export function nextSplitCard() {
  const about = h('span', {class: 'faint'});
  const table = linesTable({
    path: '/api/v1/split', title: t('split.next'), note: about,
    empty: t('split.next_none'),
    onAnswer({height, fee, paid, reward}) {
      setText(about, t('split.next_about', {
        reward: amount(reward), height: count(height), paid: amount(paid),
        fee: amount(fee)
      }));
    }
  });

  table.element.hidden = true;

  return table;
}

/** Columns of the list of blocks that are the page's heading, or said there in full. */
const NOT_FACTS = [t('block.height'), t('block.hash')];

export function blockPage(hash) {
  const heading = h('h1', {}, t('block.title'));
  const facts = h('dl', {});
  const columns = blockColumns(true)
    .filter(({title}) => !NOT_FACTS.includes(title));
  const table = linesTable({
    path: `/api/v1/blocks/${encodeURIComponent(hash)}`,
    list: ({split}) => split || {lines: [], total: 0},
    inCoinbase: ({block}) => block.payout === 'split',
    empty: t('split.none'),
    onAnswer({block, split}) {
      const divided = split ? [[t('block.divided'), amount(split.reward)],
        [t('block.fee'), amount(split.fee)],
        [t('block.paid'), amount(split.paid)]] : [];

      setText(heading, t('block.number', {height: count(block.height)}));
      renew(facts, ...[
        ...columns.map(({title, cell}) => [title, cell(block)]),
        [t('block.confirmations'), count(block.confirmations)], ...divided,
        [t('block.hash'), blockLink(block,
          h('code', {class: 'wrap'}, block.hash))]
      ].flatMap(([title, value]) => [h('dt', {}, title), h('dd', {}, value)]));
    }
  });

  return {
    element: h('div', {},
      h('div', {class: 'title'}, h('a', {href: '/', class: 'back'},
        t('pool.back')), heading),
      h('section', {class: 'card'}, facts), table.element),
    title: t('block.title'),
    sections: [],
    fast: () => table.refresh(),
    slow() {},
    onPool() {},
    onHappening() {}
  };
}
