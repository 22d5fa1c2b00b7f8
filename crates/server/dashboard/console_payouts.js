// The console's section of payouts: what is due, and what waits and why.

import {accountLink, h, name, renew, setText} from './dom.js';
import {changeButton} from './forms.js';
import {ahead, amount, count, duration} from './format.js';
import {t, word} from './language.js';
import {payoutsTable} from './parts.js';
import {amend, cardSection, severity, told} from './console_parts.js';

const SEVERITY = {failed: 'error', paused: 'warning', waits: 'info'};

export function payoutsSection() {
  const state = h('div');
  const problem = h('p', {class: 'bad', role: 'status'});
  const button = changeButton({text: '', problem, async run() {
    show(await amend(isPaused ? 'DELETE' : 'PUT', 'payout/pause'));
  }});
  const facts = h('dl');
  const lists = h('div');
  const history = payoutsTable({});
  const plan = cardSection('plan', t('plan.title'),
    '/api/v1/admin/payout/plan', h('div', {}, facts, lists), (answer) => {
      renew(facts, ...factsOf(answer));
      renew(lists, ...(answer.refusal
        ? [h('p', {}, severity('warning'), ' '), told(answer.refusal)] : []),
      ...listsOf(answer));
    });
  const payouts = cardSection('payouts', t('console.payouts'),
    '/api/v1/admin/payout', h('div', {}, state, h('p', {}, button), problem),
    show);
  let isPaused = false;

  function show(report) {
    isPaused = report.paused_at !== null;
    setText(button, t(isPaused ? 'payout.resume' : 'payout.pause'));
    state.replaceChildren(...stateOf(report));
  }

  return {...payouts,
    element: h('div', {}, payouts.element, plan.element, history.element),
    refresh() {
      for (const part of [payouts, plan, history])
        part.refresh();
    }};
}

function stateOf({state, reason}) {
  const code = SEVERITY[state];
  const text = h('strong', {}, word('payout_state', state));

  return [h('p', {}, ...(code ? [severity(code), ' '] : []), text),
    ...(reason ? [told(reason)] : [])];
}

function factsOf(plan) {
  const {wallet} = plan;
  const next = plan.next_payment_at === null ? '–' : ahead(plan.next_payment_at);
  const facts = [
    [t('plan.due'), t('plan.due_to',
      {amount: amount(plan.due), count: plan.due_accounts})],
    [t('plan.later'), amount(plan.later)],
    [t('money.next'), next],
    ...(wallet ? [[t('plan.wallet'), h('span', {}, name(wallet.name), ' ',
      amount(wallet.balance))]] : [])
  ];

  return facts.flatMap(([term, value]) => [h('dt', {}, term),
    h('dd', {}, value)]);
}

function listsOf(plan) {
  const block = ({height, hash}) => h('a', {href: `/block/${hash}`},
    count(height));
  const lists = [
    ['plan.held', plan.held, plan.held_total, one => [block(one),
      h('span', {title: one.text}, word('held', one.reason)),
      amount(one.reward)]],
    ['plan.waiting', plan.waiting, 0, one => ['',
      t('plan.wait', {reason: word('wait', one.reason), count: one.accounts}),
      amount(one.amount)]],
    ['plan.blocks', plan.blocks, plan.blocks_total, one => [block(one),
      t('plan.divided', {count: one.accounts}), amount(one.credited)]],
    ['plan.payees', plan.payees, plan.due_accounts, one => [
      accountLink(one.account), h('code', {}, one.address),
      amount(one.amount)]],
    ['plan.servers', plan.servers, 0, one => [name(one.name),
      t(one.is_awaited ? 'plan.server' : 'plan.server_gone',
        {height: count(one.shipped_tip), time: duration(one.seen_s_ago)}), '']]
  ];

  return lists.filter(([, rows]) => rows.length > 0)
    .flatMap(([key, rows, total, cells]) => [h('h3', {}, t(key)),
      h('ul', {class: 'events'}, rows.map(one => h('li', {},
        cells(one).map(cell => h('span', {}, cell))))),
      ...(total > rows.length ? [more(total - rows.length)] : [])]);
}

function more(left) {
  const element = h('p', {class: 'faint'});

  setText(element, t('plan.more', {count: left}));

  return element;
}
