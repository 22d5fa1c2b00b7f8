// The console's section of changes: who has made them, when and from where.

import {time} from './console_parts.js';
import {accountLink, h} from './dom.js';
import {t, word} from './language.js';
import {Table} from './table.js';

export function auditSection() {
  const table = new Table({
    id: 'audit', title: t('audit.title'), path: '/api/v1/admin/audit',
    key: 'changes', search: t('audit.search'), empty: t('audit.none'),
    limit: 10, columns: [
      {title: t('audit.when'), cell: row => time(row.at)},
      {title: t('audit.who'), cell: row => h('div', {}, who(row), h('div', {
        class: 'faint'
      }, word('via', row.via), ' ', h('bdi', {}, row.origin || '')))},
      {title: t('audit.change'), cell: row => h('div', {class: 'change'},
        h('strong', {}, word('change', row.change)), ' ',
        h('bdi', {}, row.subject), h('div', {class: 'faint'},
          h('bdi', {}, row.detail)))},
      {title: t('audit.outcome'), cell: row => h('span', {
        class: row.outcome === 'done' ? null : 'bad', title: row.reason
      }, row.outcome === null ? t('audit.unknown')
        : word('outcome', row.outcome))}
    ]
  });

  return {
    id: 'audit', title: t('audit.title'), element: table.element,
    refresh: () => table.refresh()
  };
}

/** The operator, or an account, which has a link: no name looks like that. */

function who({account}) {
  return account === null ? h('strong', {}, t('sign_in.owner'))
    : accountLink(account);
}
