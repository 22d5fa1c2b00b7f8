// What the own account is told, and where.

import {get, h, send} from './dom.js';
import {form, inputs} from './forms.js';
import {ago} from './format.js';
import {language, t} from './language.js';
import {viewer} from './session.js';

const PATH = '/api/v1/me/alerts';

/** What can be chosen: its key in the API, and whether it is a number. */
const CHOICES = [['silent_minutes', true], ['drop_percent', true],
  ['blocks', false], ['payments', false], ['sign_ins', false],
  ['changes', false]];

/** The names of the choices in the texts. */
const LABELS = {
  silent_minutes: 'alerts.silent_minutes',
  drop_percent: 'alerts.drop_percent',
  blocks: 'alerts.blocks',
  payments: 'alerts.payments',
  sign_ins: 'alerts.sign_ins',
  changes: 'alerts.changes'
};

/** Texts of each way: its name, and what is asked for. */
const WAYS = {
  mail: {title: 'alerts.mail', to: 'alerts.to_mail'},
  telegram: {title: 'alerts.telegram', to: 'alerts.to_telegram'},
  ntfy: {title: 'alerts.ntfy', to: 'alerts.to_ntfy'}
};

/** Nothing is shown where the pool tells nobody. */

export function alertsPart() {
  const element = h('div', {id: 'alerts', hidden: true});

  async function refresh() {
    const known = await get(PATH);

    element.hidden = known.ways.length === 0;
    element.replaceChildren(
      h('h3', {}, t('alerts.title')),
      ...known.ways.map(way => wayPart(way, known, refresh)),
      ...(known.settings ? [choices(known.settings, refresh)] : []));
  }

  refresh().catch(e => element.replaceChildren(
    h('p', {class: 'bad'}, e.message)));

  return element;
}

function change(method, path, body) {
  return send(method, PATH + path, body, viewer.token);
}

/** The contact of a way, and the forms that set another one. */

function wayPart(way, {contacts, ntfy_hosts: hosts}, refresh) {
  const contact = contacts.find(one => one.way === way);
  const path = `/contacts/${way}`;
  const code = inputs([['code', t('alerts.code'), {type: 'text',
    inputmode: 'numeric', maxlength: '8', autocomplete: 'one-time-code'}]]);
  const confirm = h('div', {hidden: true}, form(code, t('alerts.confirm'),
    async (values) => {
      await change('POST', path, values);
      await refresh();
    }));
  const placeholder = way === 'ntfy' ? `${hosts[0]}/…` : null;
  const to = inputs([['to', t(WAYS[way].to), {type: 'text',
    maxlength: '254', autocapitalize: 'none', spellcheck: 'false',
    autocomplete: way === 'mail' ? 'email' : 'off', placeholder}]]);
  const ask = form(to, t('alerts.send_code'), async (values) => {
    await change('PUT', path, {...values, language});
    confirm.hidden = false;

    return t('alerts.code_sent');
  });
  const title = t(WAYS[way].title);

  if (!contact)
    return h('details', {}, h('summary', {}, title), ask, confirm);

  return h('div', {class: 'contact'},
    h('p', {class: 'wrap'}, t('alerts.contact', {way: title, to: contact.to})),
    h('p', {class: contact.failure ? 'bad wrap' : 'faint wrap'},
      state(contact)),
    form([], t('alerts.remove'), async () => {
      await change('DELETE', path);
      await refresh();
    }),
    h('details', {}, h('summary', {}, t('alerts.another')), ask, confirm));
}

/** How a contact does. */

function state(contact) {
  const texts = [contact.told_at === null ? t('alerts.told_nothing')
    : t('alerts.told', {time: ago(contact.told_at)})];

  if (contact.failure)
    texts.push(t('alerts.failure', {reason: contact.failure}));

  if (contact.waiting > 0)
    texts.push(t('alerts.waiting', {count: contact.waiting}));

  if (contact.given_up > 0)
    texts.push(t('alerts.given_up', {count: contact.given_up}));

  return texts.join(' ');
}

function choices(settings, refresh) {
  const fields = inputs(CHOICES.map(([key, isNumber]) => [key, t(LABELS[key]),
    isNumber ? {type: 'number', required: false, value: settings[key]}
      : {type: 'checkbox', required: false, checked: settings[key]}]));

  return form(fields, t('alerts.set'), async (values) => {
    const chosen = CHOICES.map(([key, isNumber]) => [key,
      isNumber ? number(values[key]) : values[key]]);

    await change('PUT', '', {language, ...Object.fromEntries(chosen)});
    await refresh();
  });
}

/** A number of a field; null where it is empty. */

function number(text) {
  return text === '' ? null : Number(text);
}
