// Who looks at the page, what is hidden from them, and signing in.

import {accountLink, get, h, hideAccounts, send, setText} from './dom.js';
import {pieces, t} from './language.js';

const SESSION = '/api/v1/session';

/**
 * Who looks: `account` is a miner's; `isCut` is true where names are cut,
 * `isOpen` false where accounts of others are not shown at all.
 */

export const viewer = {isOperator: false, account: null, token: null,
  isCut: false, isOpen: true};

/** Find out who looks, by what the server shows to others. */

export async function recognise({dashboard, can_sign_in: canSignIn}) {
  const {role, name, csrf_token: token} = canSignIn ? await get(SESSION)
    : {role: 'nobody', name: null, csrf_token: null};

  viewer.isOperator = role === 'operator';
  viewer.account = name;
  viewer.token = token;
  viewer.isCut = dashboard !== 'public' && !viewer.isOperator;
  viewer.isOpen = dashboard !== 'private' || viewer.isOperator;
  hideAccounts(viewer.isCut, name);
}

/** The link to sign in; or who has, and the button to sign out. */

export function sessionControl({can_sign_in: canSignIn}) {
  if (!canSignIn)
    return [];

  if (!viewer.isOperator && viewer.account === null)
    return [h('a', {href: '/sign-in'}, t('sign_in.title'))];

  const who = viewer.isOperator ? t('sign_in.owner')
    : accountLink(viewer.account);

  return [who, ' ', h('button', {type: 'button', onclick: async () => {
    await send('DELETE', SESSION, null, viewer.token);
    location.assign('/');
  }}, t('sign_in.out'))];
}

export function signInPage() {
  const miner = inputs([
    ['name', t('label.account'), {type: 'text', autocomplete: 'username',
      maxlength: '128', autocapitalize: 'none', spellcheck: 'false'}],
    ['password', t('sign_in.password'), {type: 'password', maxlength: '256',
      autocomplete: 'current-password'}]
  ]);
  const owner = inputs([
    ['token', t('sign_in.token'),
      {type: 'password', maxlength: '256', autocomplete: 'off'}]
  ]);

  const element = h('div', {class: 'card sign-in'},
    h('h1', {}, t('sign_in.title')),
    h('p', {class: 'faint'}, t('sign_in.as_miner')),
    form(miner, t('sign_in.title'), async (values) => {
      const {name} = await send('POST', SESSION, values);

      location.assign(`/account/${encodeURIComponent(name)}`);
    }),
    h('details', {}, h('summary', {}, t('sign_in.as_address')),
      addressForms()),
    h('details', {}, h('summary', {}, t('sign_in.as_owner')),
      form(owner, t('sign_in.title'), async (values) => {
        await send('POST', SESSION, values);
        location.assign('/');
      })));

  return {
    element, title: t('sign_in.title'), sections: [],
    fast() {},
    slow() {},
    onPool() {},
    onHappening() {}
  };
}

/** First the address, then its owner's signature of what the server says. */

function addressForms() {
  const address = inputs([['address', t('label.address'), {type: 'text',
    maxlength: '100', autocapitalize: 'none', spellcheck: 'false',
    autocomplete: 'off'}]]);
  const signature = inputs([['signature', t('sign_in.signature'), {type: 'text',
    maxlength: '200', autocapitalize: 'none', spellcheck: 'false',
    autocomplete: 'off'}]]);
  const message = h('code', {class: 'wrap'});
  const second = h('div', {hidden: true},
    h('p', {}, pieces('sign_in.how', {
      command: h('code', {}, 'hsw-rpc signmessage ADDRESS "TEXT"')
    })),
    h('p', {}, message),
    form(signature, t('sign_in.title'), async (values) => {
      const {name} = await send('POST', SESSION,
        {address: address[0].field.value, ...values});

      location.assign(`/account/${encodeURIComponent(name)}`);
    }));

  return h('div', {},
    form(address, t('sign_in.next'), async (values) => {
      const challenge = await send('POST', `${SESSION}/challenge`, values);

      setText(message, challenge.message);
      second.hidden = false;
    }), second);
}

/** What a miner who has signed in may change of the own account. */

export function settingsCard() {
  const password = inputs([
    ['password', t('sign_in.password'), {type: 'password', maxlength: '256',
      autocomplete: 'current-password'}],
    ['new_password', t('settings.password_new'), {type: 'password',
      maxlength: '256', autocomplete: 'new-password'}]
  ]);
  const threshold = inputs([
    ['threshold', t('settings.threshold'),
      {type: 'text', inputmode: 'decimal', maxlength: '20', required: false}]
  ]);
  const change = (path, body) => send('PUT', `/api/v1/me/${path}`, body,
    viewer.token);

  return h('section', {class: 'card', id: 'settings'},
    h('h2', {}, t('settings.title')),
    form(threshold, t('settings.threshold_set'), async (values) => {
      await change('threshold', {threshold: units(values.threshold)});

      return t('settings.threshold_done');
    }),
    form(password, t('settings.password_change'), async (values) => {
      await change('password', values);
      location.assign('/sign-in');
    }));
}

/** Base units of an amount in HNS; null if there is none. */

function units(text) {
  if (text.trim() === '')
    return null;

  const [, whole, part = ''] = /^(\d{1,9})(?:\.(\d{0,6}))?$/.exec(text.trim())
    || [];

  if (whole === undefined)
    throw new Error(t('settings.amount_wrong'));

  return Number(whole) * 1e6 + Number(part.padEnd(6, '0'));
}

/** Labelled fields: their key, label and attributes. */

function inputs(all) {
  return all.map(([key, label, props]) => {
    const id = `field-${key}-${Math.random().toString(36).slice(2, 8)}`;

    return {
      key,
      field: h('input', {id, name: key, required: true, ...props}),
      label: h('label', {for: id}, label)
    };
  });
}

/** A form that says what went wrong, or what was done. */

function form(fields, action, submit) {
  const outcome = h('p', {role: 'status'});
  const button = h('button', {type: 'submit', class: 'primary'}, action);

  return h('form', {onsubmit: async (event) => {
    event.preventDefault();
    setText(outcome, '');
    button.disabled = true;

    try {
      const values = fields.map(({key, field}) => [key, field.value]);
      const done = await submit(Object.fromEntries(values));

      outcome.className = '';
      setText(outcome, done || '');
    } catch (e) {
      outcome.className = 'bad';
      setText(outcome, e.message);
    }

    button.disabled = false;
  }},
  fields.map(({label, field}) => h('p', {}, label, field)),
  h('p', {}, button), outcome);
}
