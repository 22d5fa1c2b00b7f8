// The operator's console: what is wrong and what to do about it.

import {get, h, setText} from './dom.js';
import {ago, date} from './format.js';
import {t, word} from './language.js';
import {serversTable} from './parts.js';
import {still, viewer} from './session.js';

const LINES = 100;

/** What the marks of the lists look like, by severity and level. */
const MARKS = {ok: 'confirmed', info: 'accepted', warning: 'orphaned',
  error: 'refused', problem: 'refused'};

/**
 * The sections in their order; each makes {id, title, element, refresh()},
 * which is called every five seconds while the page is seen.
 */

const SECTIONS = [alarmsSection, serversSection, logSection];

export function consolePage() {
  if (!viewer.isOperator) {
    return still(t('console.title'), h('div', {class: 'card sign-in'},
      h('h1', {}, t('console.title')), h('p', {}, t('console.for_owner')),
      h('p', {}, h('a', {href: '/sign-in'}, t('sign_in.title')))));
  }

  const sections = SECTIONS.map(make => make());

  return {
    element: h('div', {}, h('div', {class: 'title'},
      h('a', {href: '/', class: 'back'}, t('pool.back')),
      h('h1', {}, t('console.title'))),
    sections.map(section => section.element)),
    title: t('console.title'),
    sections: sections.map(({id, title}) => [id, title]),
    fast() {
      for (const section of sections)
        section.refresh();
    },
    slow() {},
    onPool() {},
    onHappening() {}
  };
}

/** A section that shows what a path gives, or why it gives nothing. */

export function section(id, title, path, content, show) {
  const problem = h('p', {class: 'bad', hidden: true});

  return {
    id, title,
    element: h('section', {class: 'card', id, 'aria-labelledby': `${id}-title`},
      h('div', {class: 'card-head'}, h('h2', {id: `${id}-title`}, title)),
      problem, content),
    async refresh() {
      try {
        show(await get(path));
        problem.hidden = true;
      } catch (e) {
        problem.hidden = false;
        setText(problem, e.message);
      }
    }
  };
}

/** Say how much it matters: in words, and by a mark. */

export function severity(code) {
  return h('span', {class: `state ${MARKS[code]}`}, word('severity', code));
}

/** Texts of the server are in English. */

export function told(text, kind = null) {
  return h('div', {class: kind, lang: 'en'}, text);
}

export function time(at) {
  return h('time', {title: date(at), 'data-time': at}, ago(at));
}

function alarmsSection() {
  const conditions = h('ul', {class: 'events', id: 'conditions'});
  const well = h('p', {class: 'empty'}, t('console.well'));
  const alarms = h('ol', {class: 'events'});
  const none = h('p', {class: 'empty'}, t('console.no_alarm'));

  return section('alarms', t('console.alarms'), '/api/v1/admin/alarms',
    h('div', {}, conditions, well, h('h3', {}, t('console.last_alarms')),
      alarms, none),
    (answer) => {
      well.hidden = answer.conditions.length > 0;
      none.hidden = answer.alarms.length > 0;
      conditions.replaceChildren(...answer.conditions.map(one => h('li', {},
        severity(one.severity), h('div', {},
          h('strong', {}, word('condition', one.kind)), told(one.reason),
          told(one.advice, 'faint')))));
      alarms.replaceChildren(...answer.alarms.map(one => h('li', {},
        severity(one.severity), told(one.text), time(one.time))));
    });
}

function serversSection() {
  const table = serversTable();

  return {
    id: 'servers', title: t('servers.title'), element: table.element,
    refresh: () => table.refresh()
  };
}

function logSection() {
  const lines = h('ol', {class: 'log'});
  const box = h('div', {class: 'log-box', tabindex: '0', role: 'group',
    'aria-labelledby': 'log-title'}, lines);
  let shown = '';

  return section('log', t('console.log'), `/api/v1/admin/log?count=${LINES}`,
    box, (answer) => {
      const now = JSON.stringify(answer.lines);

      if (now === shown)
        return;

      // It follows the last line, unless its reader is further up.
      const isAtEnd = shown === ''
        || box.scrollTop + box.clientHeight >= box.scrollHeight - 4;

      shown = now;
      lines.replaceChildren(...answer.lines.map(line => h('li', {},
        h('time', {}, date(line.time)), ' ', severity(line.level), ' ',
        h('bdi', {lang: 'en'}, line.text))));

      if (isAtEnd)
        box.scrollTop = box.scrollHeight;
    });
}
