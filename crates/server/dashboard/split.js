// Who is paid what by a block: the page of a block, and the card of the next.

import {accountLink, h, setText} from './dom.js';
import {amount, count} from './format.js';
import {blockColumns, blockLink} from './parts.js';
import {Table} from './table.js';

/** The lines of a split; `inCoinbase(answer)` is false where it pays none. */

function linesTable(options) {
  const isShown = options.inCoinbase;

  return new Table({
    id: 'split', title: 'Who is paid', key: 'lines', limit: 10, ...options,
    columns: [
      {title: 'Account', cell: row => accountLink(row.account)},
      {title: 'Part', kind: 'number', cell: row => h('span', {
        title: 'What the account has earned of the block'
      }, amount(row.part))},
      {title: 'Paid by the block', kind: 'number', isShown,
        cell: row => h('span', {title: paidTitle(row)},
          row.paid > 0 ? amount(row.paid) : '–')},
      {title: 'Address', kind: 'minor', isShown, cell: row => h('code', {
        class: 'wrap'
      }, row.address || '–')}
    ]
  });
}

function paidTitle({part, paid}) {
  if (paid === 0)
    return 'Too small for an output, or no address: it becomes balance';

  if (paid > part)
    return `Balance is paid too: ${amount(paid - part)}`;

  return paid < part ? `The rest becomes balance: ${amount(part - paid)}` : '';
}

/** What the next block pays, shown where blocks pay accounts. */

export function nextSplitCard() {
  const about = h('span', {class: 'faint'});
  const table = linesTable({
    path: '/api/v1/split', title: 'What the next block pays', note: about,
    empty: 'No account has work in the window.',
    onAnswer({height, fee, paid, reward}) {
      setText(about, `Of ${amount(reward)} of block ${count(height)}, `
        + `${amount(paid)} to accounts; fee ${amount(fee)}`);
    }
  });

  table.element.hidden = true;

  return table;
}

/** Columns of the list of blocks that are the page's heading, or said there in full. */
const NOT_FACTS = ['Height', 'Hash'];

export function blockPage(hash) {
  const heading = h('h1', {}, 'Block');
  const facts = h('dl', {});
  const columns = blockColumns(true)
    .filter(({title}) => !NOT_FACTS.includes(title));
  const table = linesTable({
    path: `/api/v1/blocks/${encodeURIComponent(hash)}`,
    list: ({split}) => split || {lines: [], total: 0},
    inCoinbase: ({block}) => block.payout === 'split',
    empty: 'A block is divided when its reward can be spent; a solo block '
      + 'pays its finder and is not divided.',
    onAnswer({block, split}) {
      const divided = split ? [['Divided', amount(split.reward)],
        ['Fee', amount(split.fee)], ['Paid by it', amount(split.paid)]] : [];

      setText(heading, `Block ${count(block.height)}`);
      facts.replaceChildren(...[
        ...columns.map(({title, cell}) => [title, cell(block)]), ...divided,
        ['Hash', blockLink(block, h('code', {class: 'wrap'}, block.hash))]
      ].flatMap(([title, value]) => [h('dt', {}, title), h('dd', {}, value)]));
    }
  });

  return {
    element: h('div', {},
      h('div', {class: 'title'}, h('a', {href: '/', class: 'back'}, '← Pool'),
        heading), h('section', {class: 'card'}, facts), table.element),
    title: 'Block',
    sections: [],
    fast: () => table.refresh(),
    slow() {},
    onPool() {},
    onHappening() {}
  };
}
