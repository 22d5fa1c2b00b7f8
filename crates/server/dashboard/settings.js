// What a miner who has signed in may change of the own account.

import {alertsPart} from './alerts.js';
import {h, send, setText} from './dom.js';
import {form, inputs, signedForms, units} from './forms.js';
import {ahead, date} from './format.js';
import {keysPart, linksPart} from './keys.js';
import {t} from './language.js';
import {viewer} from './session.js';

/** Accounts that are addresses: those have an owner who can sign. */
const ADDRESS = /^(hs|ts|rs|ss)1[a-z0-9]{20,}$/;

const PASSWORD = ['password', t('sign_in.password'), {type: 'password',
  maxlength: '256', autocomplete: 'current-password'}];

/**
 * The card of the own account. `refresh` reads the account anew, and hands it
 * to `update`.
 */

export function settingsCard(refresh) {
  const password = inputs([PASSWORD,
    ['new_password', t('settings.password_new'), {type: 'password',
      maxlength: '256', autocomplete: 'new-password'}]
  ]);
  const threshold = inputs([
    ['threshold', t('settings.threshold'),
      {type: 'text', inputmode: 'decimal', maxlength: '20', required: false}]
  ]);
  const address = addressPart(refresh);

  return {
    element: h('section', {class: 'card', id: 'settings'},
      h('h2', {}, t('settings.title')),
      h('h3', {}, t('own.threshold')),
      form(threshold, t('settings.threshold_set'), async (values) => {
        await change('PUT', 'threshold', {threshold: units(values.threshold)});

        return t('settings.threshold_done');
      }),
      address.element, alertsPart(), linksPart(), keysPart(),
      h('h3', {}, t('sign_in.password')),
      h('p', {class: 'faint'}, t('settings.password_means')),
      form(password, t('settings.password_change'), async (values) => {
        await change('PUT', 'password', values);
        location.assign('/sign-in');
      })),
    update: address.update
  };
}

function change(method, path, body) {
  return send(method, `/api/v1/me/${path}`, body, viewer.token);
}

/** The payout address, and the one that holds later. */

function addressPart(refresh) {
  const fields = inputs([['address', t('settings.address'), {type: 'text',
    maxlength: '100', autocapitalize: 'none', spellcheck: 'false',
    autocomplete: 'off'}], PASSWORD]);
  const next = h('p', {class: 'wrap'});
  const cancel = h('div', {hidden: true}, next,
    form([], t('settings.address_keep'), async () => {
      await change('DELETE', 'address');
      await refresh();
    }));

  // One that holds later is said above.
  async function set(values) {
    await change('PUT', 'address', values);
    await refresh();

    return cancel.hidden ? t('settings.address_done') : '';
  }

  const byPassword = form(fields, t('settings.address_set'), set);
  const forms = ADDRESS.test(viewer.account) ? [signedForms({
    label: t('settings.address'), action: t('settings.address_set'),
    challenge: address => ({address: viewer.account, pay_to: address}),
    use: set
  }), h('details', {}, h('summary', {}, t('settings.address_password')),
    byPassword)] : byPassword;

  return {
    element: h('div', {id: 'payout-address'},
      h('h3', {}, t('settings.address_title')), cancel, forms),
    update({next_address: later}) {
      cancel.hidden = later === null;

      if (later !== null)
        setText(next, t('settings.address_next', {
          address: later.address, date: date(later.holds_at),
          time: ahead(later.holds_at)
        }));
    }
  };
}
