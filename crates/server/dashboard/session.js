// Who looks at the page, what is hidden from them, and signing in.

import {get, h, hideAccounts, send, setText} from './dom.js';

const SESSION = '/api/v1/session';

/** Who looks; `isCut` is true where names are cut, `isOpen` false where accounts are not shown at all. */

export const viewer = {isOperator: false, token: null, isCut: false,
  isOpen: true};

/** Find out who looks, by what the server shows to others. */

export async function recognise({dashboard, can_sign_in: canSignIn}) {
  const {role, csrf_token: token} = canSignIn ? await get(SESSION)
    : {role: 'nobody', csrf_token: null};

  viewer.isOperator = role === 'operator';
  viewer.token = token;
  viewer.isCut = dashboard !== 'public' && !viewer.isOperator;
  viewer.isOpen = dashboard !== 'private' || viewer.isOperator;
  hideAccounts(viewer.isCut);
}

/** The link to sign in, or the button to sign out; nothing where nobody can. */

export function sessionControl({can_sign_in: canSignIn}) {
  if (!canSignIn)
    return null;

  if (!viewer.isOperator)
    return h('a', {href: '/sign-in'}, 'Sign in');

  return h('button', {type: 'button', onclick: async () => {
    await send('DELETE', SESSION, null, viewer.token);
    location.assign('/');
  }}, 'Sign out');
}

export function signInPage() {
  const field = h('input', {
    type: 'password', id: 'token', autocomplete: 'current-password',
    required: true, maxlength: '256'
  });
  const problem = h('p', {class: 'bad', role: 'alert'});
  const form = h('form', {class: 'card sign-in', onsubmit: async (event) => {
    event.preventDefault();
    setText(problem, '');

    try {
      await send('POST', SESSION, {token: field.value});
      location.assign('/');
    } catch (e) {
      setText(problem, e.message);
    }
  }},
  h('h1', {}, 'Sign in'),
  h('p', {}, h('label', {for: 'token'}, 'The token of the pool’s owner '
    + '(http-token)')),
  h('p', {}, field, ' ', h('button', {type: 'submit', class: 'primary'},
    'Sign in')), problem);

  return {
    element: form, title: 'Sign in', sections: [],
    fast() {},
    slow() {},
    onPool() {},
    onHappening() {}
  };
}
