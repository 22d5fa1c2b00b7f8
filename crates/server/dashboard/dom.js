// Elements from plain data. Text becomes text and never markup: names are untrusted.

import {t} from './language.js';

const COPIED_MS = 3000;

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

/** A link to the page of one of an account's workers. */

export function workerLink(account, worker) {
  if (areAccountsHidden && account !== ownAccount)
    return name(worker);

  const query = new URLSearchParams({worker});

  return h('a', {href: `/account/${encodeURIComponent(account)}?${query}`},
    name(worker));
}

/** Set a text only when it has changed, so that nothing is read out twice. */

export function setText(element, text) {
  if (element.textContent !== text)
    element.textContent = text;
}

/** What is the same of a control that is made anew. */

function identity(control) {
  return ['tagName', 'href', 'name', 'ariaLabel'].map(key => control[key])
    .join(' ');
}

/** Replace the children; a control with the focus keeps it when it is made anew. */

export function renew(element, ...children) {
  const controls = () => [...element.querySelectorAll('a,button,input,select')];
  const before = controls();
  const focused = before.find(one => one === document.activeElement);

  element.replaceChildren(...children);

  if (!focused)
    return;

  // Two may look alike, as the two links of a row to its block.
  const isAlike = one => identity(one) === identity(focused);
  const place = before.filter(isAlike).indexOf(focused);
  const now = controls().filter(isAlike);
  const again = now[place] || now[0];

  if (again)
    again.focus({preventScroll: true});
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

let link = null;

/**
 * Ask by a link from now on. `onRefused` is called when it is none any more.
 */

export function askBy(secret, onRefused) {
  link = {secret, onRefused};
}

async function ask(path, options) {
  const response = await fetch(path, link === null ? options : {...options,
    headers: {...options.headers, Authorization: `Bearer ${link.secret}`}});

  // Only an answer about the link itself has this header (RFC 6750).
  if (link !== null && response.headers.has('WWW-Authenticate'))
    link.onRefused();

  const body = response.status === 204 ? null : await response.json();

  if (!response.ok) {
    const error = new Error(body.error);
    error.status = response.status;
    throw error;
  }

  return body;
}

/** Without TLS a browser has no clipboard, except on localhost. */

async function copyText(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch (e) {
    getSelection().selectAllChildren(element);
    return false;
  }
}

/** A button that copies the text of an element, `what` it is, and says so. */

export function copyButton(element, what) {
  const copied = h('span', {class: 'copied', role: 'status'});
  const button = h('button', {
    type: 'button', 'aria-label': t('connect.copy_what', {what}),
    async onclick() {
      const done = await copyText(element);

      setText(copied, t(done ? 'connect.copied' : 'connect.by_hand'));
      setTimeout(() => setText(copied, ''), COPIED_MS);
    }
  }, t('connect.copy'));

  return h('span', {class: 'copy'}, button, ' ', copied);
}
