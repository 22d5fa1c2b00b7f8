// The console's section of servers: how each does, and drains.

import {amend} from './console_parts.js';
import {get, h, name, setText} from './dom.js';
import {changeButton} from './forms.js';
import {t} from './language.js';
import {serversTable} from './parts.js';

export function serversSection() {
  const table = serversTable();
  const list = h('ul', {class: 'keys'});
  const problem = h('p', {class: 'bad', role: 'status'});

  /** A pool of one server has no name for it. */
  async function refreshDrains() {
    try {
      const {servers} = await get('/api/v1/servers');
      const isAlone = servers.length < 2;
      const own = await get('/api/v1/admin/drain');

      list.replaceChildren(...servers.map((server) => {
        return row(server, isAlone || server.is_this ? own.is_draining
          : server.is_draining, isAlone || server.is_this);
      }));
    } catch (e) {
      setText(problem, e.message);
    }
  }

  function row(server, isDraining, isThis) {
    const {name: of} = server;
    const button = changeButton({
      text: t(isDraining ? 'drain.end' : 'drain.begin'), problem,
      label: t(isDraining ? 'drain.end_named' : 'drain.begin_named',
        {name: of}),
      async run() {
        await drain(isDraining, isThis ? null : of);
        await refreshDrains();
      }
    });

    return h('li', {}, h('div', {}, name(of), ' ', h('span', {class: 'faint'},
      t(isDraining ? 'drain.is' : 'drain.is_not'))), button);
  }

  refreshDrains();

  return {
    id: 'servers', title: t('servers.title'),
    element: h('div', {}, table.element, h('section', {
      class: 'card', id: 'drains', 'aria-labelledby': 'drains-title'
    }, h('h2', {id: 'drains-title'}, t('drain.title')),
    h('p', {class: 'faint'}, t('drain.means')), list, problem)),
    refresh: () => table.refresh()
  };
}

function drain(isDraining, server) {
  const of = server === null ? '' : `?server=${encodeURIComponent(server)}`;

  return isDraining ? amend('DELETE', `drain${of}`)
    : amend('PUT', 'drain', server === null ? {} : {server});
}
