// The console's section of changes: who has made them, when and from where.

import {time} from './console_parts.js';
import {h, name} from './dom.js';
import {t, word} from './language.js';
import {Table} from './table.js';

export function auditSection() {
  const table = new Table({
    id: 'audit', title: t('audit.title'), path: '/api/v1/admin/audit',
    key: 'changes', search: t('audit.search'), empty: t('audit.none'),
    limit: 10, columns: [
      {title: t('audit.when'), cell: row => time(row.at)},
      {title: t('audit.who'), cell: row => row.account === null
        ? t('sign_in.owner') : name(row.account)},
      {title: t('audit.from'), kind: 'minor', cell: row => h('span', {},
        word('via', row.via), ' ', h('bdi', {}, row.origin || ''))},
      {title: t('audit.change'), cell: row => word('change', row.change)},
      {title: t('audit.of'), cell: row => row.subject === '' ? '–'
        : name(row.subject)},
      {title: t('audit.to'), kind: 'minor', cell: row => h('bdi', {
        class: 'wrap'
      }, row.detail || '–')},
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
