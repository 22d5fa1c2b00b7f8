// Forms that say what became of what was sent.

import {h, send, setText} from './dom.js';
import {pieces, t} from './language.js';

export const SESSION = '/api/v1/session';

/** Labelled fields: their key, label and attributes. */

export function inputs(all) {
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

export function form(fields, action, submit) {
  const outcome = h('p', {role: 'status'});
  const button = h('button', {type: 'submit', class: 'primary'}, action);

  return h('form', {onsubmit: async (event) => {
    event.preventDefault();
    setText(outcome, '');
    button.disabled = true;

    try {
      const values = fields.map(({key, field}) => [key,
        valueOf(field)]);
      const done = await submit(Object.fromEntries(values));

      outcome.className = '';
      setText(outcome, done || '');

      for (const {field} of fields) {
        if (field.type === 'password')
          field.value = '';
      }
    } catch (e) {
      outcome.className = 'bad';
      setText(outcome, e.message);
    }

    button.disabled = false;
  }},
  fields.map(({label, field}) => h('p', {}, label, field)),
  h('p', {}, button), outcome);
}

/**
 * A button that changes something: it waits for `run`, and `problem` says why
 * that failed.
 */

export function changeButton({text, label, problem, run}) {
  const button = h('button', {type: 'button', 'aria-label': label,
    async onclick() {
      button.disabled = true;
      setText(problem, '');

      try {
        await run();
      } catch (e) {
        setText(problem, e.message);
      }

      button.disabled = false;
    }}, text);

  return button;
}

function valueOf(field) {
  switch (field.type) {
    case 'password':
      return field.value;
    case 'checkbox':
      return field.checked;
    default:
      return field.value.trim();
  }
}

/**
 * Two forms: an address, and the signature of what the server says to it.
 * `challenge` makes the request for that of the address; `use` takes both.
 */

export function signedForms({label, action, challenge, use}) {
  const text = {type: 'text', autocapitalize: 'none', spellcheck: 'false',
    autocomplete: 'off'};
  const address = inputs([['address', label, {...text, maxlength: '100'}]]);
  const signature = inputs([['signature', t('sign_in.signature'),
    {...text, maxlength: '200'}]]);
  const message = h('code', {class: 'wrap'});
  const second = h('div', {hidden: true},
    h('p', {}, pieces('sign_in.how', {
      command: h('code', {}, 'hsw-rpc signmessage ADDRESS "TEXT"')
    })),
    h('p', {}, message),
    form(signature, action, values => use({
      address: address[0].field.value.trim(), ...values
    })));

  // The text is of the address as it was.
  address[0].field.addEventListener('input', () => {
    second.hidden = true;
  });

  return h('div', {},
    form(address, t('sign_in.next'), async (values) => {
      const asked = challenge(values.address);
      const answer = await send('POST', `${SESSION}/challenge`, asked);

      setText(message, answer.message);
      second.hidden = false;
    }), second);
}

/** Base units of an amount in HNS; null if there is none. */

export function units(text) {
  if (text.trim() === '')
    return null;

  const [, whole, part = ''] = /^(\d{1,9})(?:\.(\d{0,6}))?$/.exec(text.trim())
    || [];

  if (whole === undefined)
    throw new Error(t('settings.amount_wrong'));

  return Number(whole) * 1e6 + Number(part.padEnd(6, '0'));
}
