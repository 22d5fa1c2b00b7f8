// Elements from plain data. Text becomes text and never markup: names are untrusted.

import {t} from './language.js';

/**
 * Make an element. Properties are set as attributes; `on…` are listeners;
 * undefined, null and false are left out.
 */

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);

  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false)
      continue;

    if (name.startsWith('on'))
      element.addEventListener(name.slice(2), value);
    else
      element.setAttribute(name, value === true ? '' : value);
  }

  element.append(...children.flat().filter(child => child !== null));

  return element;
}

/** A name chosen by others: cut where it is long, whole as a title. */

export function name(text) {
  if (text === '')
    return h('span', {class: 'faint'}, t('text.no_name'));

  return h('bdi', {class: 'name', title: text}, text);
}

let areAccountsHidden = false;
let ownAccount = null;

/**
 * Link no account but the own one: names are cut, and nothing is found by what
 * is left.
 */

export function hideAccounts(areHidden, own) {
  areAccountsHidden = areHidden;
  ownAccount = own;
}

/** A link to an account's own page. */

export function accountLink(account) {
  if (areAccountsHidden && account !== ownAccount)
    return name(account);

  return h('a', {href: `/account/${encodeURIComponent(account)}`},
    name(account));
}

/** Set a text only when it has changed, so that nothing is read out twice. */

export function setText(element, text) {
  if (element.textContent !== text)
    element.textContent = text;
}

/** JSON of the API; a refusal is an error with the server's text. */

export function get(path) {
  return ask(path, {headers: {Accept: 'application/json'}});
}

/** A change, with the token of the session if there is one. */

export function send(method, path, body, token = null) {
  return ask(path, {
    method, body: body && JSON.stringify(body),
    headers: {'Content-Type': 'application/json',
      ...(token ? {'X-CSRF-Token': token} : {})}
  });
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const body = response.status === 204 ? null : await response.json();

  if (!response.ok) {
    const error = new Error(body.error);
    error.status = response.status;
    throw error;
  }

  return body;
}
