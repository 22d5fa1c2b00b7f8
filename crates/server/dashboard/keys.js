// Keys of the own account for programs, and links that show it to others.

import {copyButton, get, h, send, setText} from './dom.js';
import {changeButton, form, inputs} from './forms.js';
import {date} from './format.js';
import {t, word} from './language.js';
import {viewer} from './session.js';

export function linksPart() {
  return part({
    path: '/api/v1/me/links', id: 'links', title: t('links.title'),
    means: t('links.means'), make: t('links.make'), none: t('links.none'),
    once: t('links.once'), fields: [], secret: made => made.url
  });
}

export function keysPart() {
  const id = 'field-may';
  const may = {
    key: 'may', label: h('label', {for: id}, t('keys.may')),
    field: h('select', {id, name: 'may'}, ['read', 'settings'].map((value) => {
      return h('option', {value}, word('key_may', value));
    }))
  };

  return part({
    path: '/api/v1/me/keys', id: 'keys', title: t('keys.title'),
    means: t('keys.means'), make: t('keys.make'), none: t('keys.none'),
    once: t('keys.once'), fields: [may], secret: made => made.key
  });
}

/**
 * A list, and the form that makes one more. `secret` is what of the answer is
 * shown once.
 */

function part({path, id, title, means, make, none, once, fields, secret}) {
  const list = h('ul', {class: 'keys'});
  const problem = h('p', {class: 'bad', role: 'status'});
  const code = h('code', {class: 'wrap'});
  const made = h('div', {class: 'note', hidden: true}, h('p', {}, once),
    h('p', {}, code), h('p', {}, copyButton(code, title)));
  const name = inputs([['name', t('keys.name'), {type: 'text',
    maxlength: '40', autocomplete: 'off'}]]);

  async function refresh() {
    try {
      const rows = (await get(path)).map(row);

      list.replaceChildren(...rows.length > 0 ? rows
        : [h('li', {class: 'faint'}, none)]);
      setText(problem, '');
    } catch (e) {
      setText(problem, e.message);
    }
  }

  function row({id: key, name: of, may, created_at: time}) {
    const revoke = changeButton({
      text: t('keys.revoke'), label: t('keys.revoke_named', {name: of}),
      problem,
      async run() {
        made.hidden = true;
        await send('DELETE', `${path}/${key}`, null, viewer.token);
        await refresh();
      }
    });

    const about = [t('keys.made', {date: date(time)}),
      ...(may === 'link' ? [] : [word('key_may', may)])];

    return h('li', {}, h('div', {}, h('div', {class: 'wrap'}, of),
      h('div', {class: 'faint'}, about.join(t('text.comma')))), revoke);
  }

  refresh();

  return h('div', {id}, h('h3', {}, title), h('p', {class: 'faint'}, means),
    list, problem, made,
    form([...name, ...fields], make, async (values) => {
      const answer = await send('POST', path, values, viewer.token);

      setText(code, secret(answer));
      made.hidden = false;
      name[0].field.value = '';
      await refresh();
    }));
}
