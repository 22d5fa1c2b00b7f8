// Who looks at the page, what is hidden from them, and signing in.

import {accountLink, askBy, get, h, hideAccounts, send} from './dom.js';
import {SESSION, form, inputs, signedForms} from './forms.js';
import {t} from './language.js';

/**
 * Who looks: `account` is a miner's, or is shown by a link; `isCut` is true
 * where names are cut, `isOpen` false where accounts of others are not shown at
 * all.
 */

export const viewer = {isOperator: false, isLink: false, account: null,
  token: null, isCut: false, isOpen: true};

/** What stands before the secret of a link, in its address. */
export const VIEW = '#view=';
const LINK = 'link';

/**
 * Look by the link in the address, or the one that this tab was opened by. It
 * stays in the tab: the server is told with each request, and no cookie is set
 * that would sign somebody out.
 */

export function takeLink() {
  const isGiven = location.hash.startsWith(VIEW);

  try {
    if (isGiven)
      sessionStorage.setItem(LINK, location.hash.slice(VIEW.length));

    lookBy(sessionStorage.getItem(LINK));
  } catch (e) {
    // No other page than this one is shown by it then.
    lookBy(isGiven ? location.hash.slice(VIEW.length) : null);
  }
}

let isByLink = false;

function lookBy(secret) {
  isByLink = Boolean(secret);

  if (secret)
    askBy(secret, () => leaveLink(`/${VIEW}`));
}

function leaveLink(path) {
  try {
    sessionStorage.removeItem(LINK);
  } catch (e) {
    // There is none.
  }

  location.assign(path);
}

/** What is shown in place of an account whose link was revoked. */

export function endedLinkPage() {
  return still(t('link.ended'), h('div', {class: 'card sign-in'},
    h('h1', {}, t('link.ended')), h('p', {}, t('link.ended_means')),
    h('p', {}, h('a', {href: '/'}, t('pool.back')))));
}

/** A page of which nothing changes by itself. */

export function still(title, element) {
  return {
    element, title, sections: [],
    fast() {},
    slow() {},
    onPool() {},
    onHappening() {}
  };
}

/** Find out who looks, by what the server shows to others. */

export async function recognise({dashboard, can_sign_in: canSignIn}) {
  const {role, name, csrf_token: token} = canSignIn ? await get(SESSION)
    : {role: 'nobody', name: null, csrf_token: null};

  // Not whole, so that the server takes it for no link.
  if (canSignIn && isByLink && role !== 'link')
    leaveLink(`/${VIEW}`);

  viewer.isOperator = role === 'operator';
  viewer.isLink = role === 'link';
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

  if (viewer.isLink)
    return [accountLink(viewer.account), ' ', h('button', {
      type: 'button', onclick: () => leaveLink('/')
    }, t('link.leave'))];

  const who = viewer.isOperator
    ? [t('sign_in.owner'), ' ', h('a', {href: '/console'}, t('console.title'))]
    : [accountLink(viewer.account)];

  return [...who, ' ', h('button', {type: 'button', onclick: async () => {
    // Refused where somebody else has signed in meanwhile: the page tells who.
    await send('DELETE', SESSION, null, viewer.token).catch(() => {});
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

  return still(t('sign_in.title'), element);
}

/** First the address, then its owner's signature of what the server says. */

function addressForms() {
  return signedForms({
    label: t('label.address'), action: t('sign_in.title'),
    challenge: address => ({address}),
    async use(values) {
      const {name} = await send('POST', SESSION, values);

      location.assign(`/account/${encodeURIComponent(name)}`);
    }
  });
}
