// The operator's console: what is wrong and what to do about it.

import {auditSection} from './console_audit.js';
import {bansSection} from './console_bans.js';
import {cardSection, severity, time, told, whenAmended} from './console_parts.js';
import {payoutsSection} from './console_payouts.js';
import {serversSection} from './console_servers.js';
import {usersSection} from './console_users.js';
import {h, setText} from './dom.js';
import {date, duration} from './format.js';
import {t, word} from './language.js';
import {still, viewer} from './session.js';

const LINES = 100;
/** Distance from the end, in pixels, at which a reader follows it. */
const END_PX = 4;

/**
 * The sections in their order; each makes {id, title, element, refresh()},
 * which is called every five seconds while the page is seen.
 */

const SECTIONS = [alarmsSection, usersSection, payoutsSection, serversSection,
  bansSection, auditSection, doctorSection, logSection];

export function consolePage() {
  if (!viewer.isOperator) {
    return still(t('console.title'), h('div', {class: 'card sign-in'},
      h('h1', {}, t('console.title')), h('p', {}, t('console.for_owner')),
      h('p', {}, h('a', {href: '/sign-in'}, t('sign_in.title')))));
  }

  const sections = SECTIONS.map(make => make());

  function fast() {
    for (const section of sections)
      section.refresh();
  }

  whenAmended(fast);

  return {
    element: h('div', {}, h('div', {class: 'title'},
      h('a', {href: '/', class: 'back'}, t('pool.back')),
      h('h1', {}, t('console.title'))),
    sections.map(section => section.element)),
    title: t('console.title'),
    sections: sections.map(({id, title}) => [id, title]),
    fast,
    slow() {},
    onPool() {},
    onHappening() {}
  };
}

function alarmsSection() {
  const conditions = h('ul', {class: 'events', id: 'conditions'});
  const well = h('p', {class: 'empty'}, t('console.well'));
  const alarms = h('ol', {class: 'events', id: 'last-alarms'});
  const none = h('p', {class: 'empty'}, t('console.no_alarm'));

  return cardSection('alarms', t('console.alarms'), '/api/v1/admin/alarms',
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

/** The doctor looks only when it is told to: it also logs in as a miner. */

function doctorSection() {
  const findings = h('ul', {class: 'events'});
  const age = h('p', {class: 'faint', role: 'status'}, t('doctor.not_yet'));
  const button = h('button', {type: 'button', onclick: look}, t('doctor.look'));
  const section = cardSection('doctor', t('doctor.title'),
    '/api/v1/admin/doctor', h('div', {}, age, button, findings), (answer) => {
      setText(age, t('doctor.age', {time: duration(answer.age_s)}));
      findings.replaceChildren(...answer.findings.map(one => h('li', {},
        severity(one.severity), h('div', {},
          h('strong', {}, word('part', one.part)), told(one.text),
          one.advice ? told(one.advice, 'faint') : null))));
    });

  async function look() {
    button.disabled = true;
    setText(age, t('doctor.looks'));
    await section.refresh();
    button.disabled = false;
    setText(button, t('doctor.again'));
  }

  return {...section, refresh() {}};
}

function logSection() {
  const lines = h('ol', {class: 'log'});
  const none = h('p', {class: 'empty', hidden: true}, t('console.no_line'));
  const box = h('div', {class: 'log-box', tabindex: '0', role: 'group',
    'aria-labelledby': 'log-title'}, none, lines);
  const level = h('select', {
    'aria-label': t('log.level'), onchange: () => section.refresh()
  }, ['info', 'warning'].map(value => h('option', {value},
    word('log_from', value))));
  let shown = null;

  const section = cardSection('log', t('console.log'),
    () => `/api/v1/admin/log?count=${LINES}&level=${level.value}`,
    h('div', {}, h('p', {}, level), box), (answer) => {
      const now = JSON.stringify(answer.lines);

      if (now === shown)
        return;

      // It follows the last line, unless its reader is further up.
      const isAtEnd = shown === null
        || box.scrollTop + box.clientHeight >= box.scrollHeight - END_PX;

      shown = now;
      none.hidden = answer.lines.length > 0;
      lines.replaceChildren(...answer.lines.map(line => h('li', {},
        h('time', {}, date(line.time)), ' ', severity(line.level), ' ',
        h('bdi', {lang: 'en'}, line.text))));

      if (isAtEnd)
        box.scrollTop = box.scrollHeight;
    });

  return section;
}
