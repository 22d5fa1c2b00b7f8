// The console's section of users: find one, add one, and change what it has.

import {amend} from './console_parts.js';
import {get, h, name} from './dom.js';
import {form, inputs, units} from './forms.js';
import {ahead, amount, date} from './format.js';
import {t} from './language.js';
import {Table} from './table.js';

const NAME = ['name', t('label.account'), {type: 'text', maxlength: '128',
  autocapitalize: 'none', spellcheck: 'false', autocomplete: 'off'}];
const PASSWORD = ['password', t('sign_in.password'), {type: 'password',
  maxlength: '256', autocomplete: 'new-password'}];
const ADDRESS = {type: 'text', maxlength: '100', autocapitalize: 'none',
  spellcheck: 'false', autocomplete: 'off'};

export function usersSection() {
  const panel = h('div', {id: 'user', tabindex: '-1'});
  const table = new Table({
    id: 'users-table', title: t('users.title'), path: '/api/v1/admin/users',
    key: 'users', search: t('users.search'), empty: t('users.none'), limit: 10,
    columns: [
      {title: t('label.account'), cell: row => h('button', {
        type: 'button', onclick: () => open(row.name)
      }, name(row.name))},
      {title: t('users.state'), cell: row => stateOf(row)},
      {title: t('users.address'), kind: 'minor', cell: row => h('span', {
        class: 'wrap'
      }, row.address || '–')},
      {title: t('own.threshold'), kind: 'number minor',
        cell: row => row.threshold === null ? '–' : amount(row.threshold)}
    ]
  });

  async function open(account) {
    const user = await get(path(account));

    panel.replaceChildren(userPanel(user, () => changed(account)));
    panel.focus();
  }

  async function changed(account) {
    await open(account);
    await table.refresh();
  }

  const added = inputs([NAME, PASSWORD, ['address', t('users.address_optional'),
    {...ADDRESS, required: false}]]);

  table.refresh();

  return {
    id: 'users', title: t('users.title'),
    element: h('div', {id: 'users'}, table.element, h('section', {
      class: 'card', 'aria-label': t('users.one')
    }, panel, h('div', {class: 'two'},
      h('div', {}, h('h3', {}, t('users.find')),
        h('p', {class: 'faint'}, t('users.find_means')),
        form(inputs([NAME]), t('users.open'), values => open(values.name))),
      h('div', {}, h('h3', {}, t('users.add')),
        form(added, t('users.add'), async ({name: of, password, address}) => {
          await amend('POST', 'users', {name: of, password,
            ...(address === '' ? {} : {address})});
          await changed(of);
        }))))),
    // Names are looked through on the pool's thread: not every few seconds.
    refresh() {}
  };
}

function path(account, what = '') {
  return `/api/v1/admin/users/${encodeURIComponent(account)}${what}`;
}

function stateOf(user) {
  if (user.is_disabled)
    return t('users.disabled');

  return user.has_password ? '' : t('users.no_password');
}

/** What an account has, and the forms that change it. */

function userPanel(user, changed) {
  const {name: account, next_address: later} = user;
  const facts = [
    [t('users.state'), stateOf(user) || t('users.may_mine')],
    [t('users.address'), user.address || t('users.by_name')],
    ...(later === null ? [] : [[t('users.next_address'),
      t('settings.address_next', {address: later.address,
        date: date(later.holds_at), time: ahead(later.holds_at)})]]),
    [t('own.threshold'), user.threshold === null ? t('users.of_pool')
      : amount(user.threshold)]
  ];

  async function set(method, what, body) {
    await amend(method, `users/${encodeURIComponent(account)}/${what}`, body);
    await changed();
  }

  return h('div', {}, h('h3', {class: 'wrap'}, h('bdi', {}, account)),
    h('dl', {}, facts.flatMap(([term, value]) => [h('dt', {}, term),
      h('dd', {class: 'wrap'}, value)])),
    h('div', {class: 'two'},
      h('div', {},
        form(inputs([['address', t('users.new_address'), ADDRESS]]),
          t('users.address_set'), values => set('PUT', 'address', values)),
        form(inputs([['threshold', t('users.new_threshold'), {type: 'text',
          inputmode: 'decimal', maxlength: '20', required: false}]]),
        t('settings.threshold_set'), values => set('PUT', 'threshold',
          {threshold: units(values.threshold)}))),
      user.has_password ? h('div', {},
        form(inputs([['password', t('users.new_password'), PASSWORD[2]]]),
          t('users.password_set'), values => set('PUT', 'password', values)),
        form([], t(user.is_disabled ? 'users.enable' : 'users.disable'),
          () => set(user.is_disabled ? 'DELETE' : 'PUT', 'disabled')))
        : h('p', {class: 'faint'}, t('users.no_password_means'))));
}
