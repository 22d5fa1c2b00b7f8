// The console's section of bans.

import {amend, cardSection, time} from './console_parts.js';
import {h, renew} from './dom.js';
import {changeButton, form, inputs} from './forms.js';
import {ahead} from './format.js';
import {t} from './language.js';

const MINUTE_S = 60;

export function bansSection() {
  const list = h('ul', {class: 'events'});
  // Of many the page stays short.
  const box = h('div', {class: 'long', tabindex: '0', role: 'group',
    'aria-labelledby': 'bans-title'}, list);
  const none = h('p', {class: 'empty'}, t('bans.none'));
  const problem = h('p', {class: 'bad', role: 'status'});
  const fields = inputs([
    ['address', t('bans.address'), {type: 'text', maxlength: '45',
      autocomplete: 'off', spellcheck: 'false'}],
    ['minutes', t('bans.minutes'), {type: 'number', min: '1',
      max: '5000000', required: false}],
    ['reason', t('bans.reason'), {type: 'text', maxlength: '256',
      autocomplete: 'off', required: false}]
  ]);
  const section = cardSection('bans', t('bans.title'), '/api/v1/admin/bans',
    h('div', {}, box, none, problem, form(fields, t('bans.ban'),
      async ({address, minutes, reason}) => {
        await amend('POST', 'bans', {address, reason,
          ...(minutes === '' ? {} : {seconds: Number(minutes) * MINUTE_S})});
        fields[0].field.value = '';
      })),
    (bans) => {
      none.hidden = bans.length > 0;
      box.hidden = bans.length === 0;

      // The button of a change that is under way stays disabled.
      const shown = JSON.stringify(bans);

      if (list.dataset.shown !== shown) {
        list.dataset.shown = shown;
        renew(list, ...bans.map(row));
      }
    });

  function row({address, since, until, reason, by}) {
    const lift = changeButton({
      text: t('bans.lift'), label: t('bans.lift_named', {address}), problem,
      async run() {
        await amend('DELETE', `bans/${encodeURIComponent(address)}`);
        await section.refresh();
      }
    });
    const about = [t(by === 'pool' ? 'bans.by_pool' : 'bans.by_owner'),
      until === null ? t('bans.for_good')
        : t('bans.until', {time: ahead(until)}), reason];

    return h('li', {}, h('code', {}, address), h('div', {},
      h('bdi', {}, about.filter(one => one !== '').join(t('text.comma'))),
      ' ', time(since)), lift);
  }

  return section;
}
