// Parts of the sections of the operator's console.

import {get, h, send, setText} from './dom.js';
import {ago, date} from './format.js';
import {word} from './language.js';
import {viewer} from './session.js';

/** The marks of the lists, by severity, as the states of blocks have them. */
const MARKS = {ok: 'confirmed', info: 'accepted', warning: 'orphaned',
  error: 'refused', problem: 'refused'};

/**
 * A section that shows what a path gives, or why it gives nothing. `path` may
 * be a function that says which.
 */

export function cardSection(id, title, path, content, show) {
  const problem = h('p', {class: 'bad', hidden: true});

  return {
    id, title,
    element: h('section', {class: 'card', id, 'aria-labelledby': `${id}-title`},
      h('div', {class: 'card-head'}, h('h2', {id: `${id}-title`}, title)),
      problem, content),
    async refresh() {
      try {
        show(await get(typeof path === 'function' ? path() : path));
        problem.hidden = true;
      } catch (e) {
        problem.hidden = false;
        setText(problem, e.message);
      }
    }
  };
}

let onAmended = () => {};

/** Call this after each change. */

export function whenAmended(call) {
  onAmended = call;
}

/** A change by the operator, of what is below `/api/v1/admin`. */

export async function amend(method, path, body = null) {
  const answer = await send(method, `/api/v1/admin/${path}`, body,
    viewer.token);

  onAmended();

  return answer;
}

/** How much it matters: a word, and a mark beside it. */

export function severity(code) {
  return h('span', {class: `state ${MARKS[code]}`}, word('severity', code));
}

/** A text of the server, which is in English. */

export function told(text, kind = null) {
  return h('div', {class: kind, lang: 'en'}, text);
}

export function time(at) {
  return h('time', {title: date(at), 'data-time': at}, ago(at));
}
