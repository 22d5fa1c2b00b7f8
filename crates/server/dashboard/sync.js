// The download of the chain: the first on the pool's page until the node is
// synchronized.

import {h, setText} from './dom.js';
import {count, date, duration, percent} from './format.js';
import {pieces, t} from './language.js';
import {stat} from './parts.js';

/** The server's text for the missing job that the card explains. */
const NOT_SYNCED = 'node is not synced';

/** The part of the chain that is there, never rounded up to all of it. */

export function partOfChain({progress}) {
  return percent(Math.floor(progress * 1000) / 1000);
}

/** True if the card says why there is no job. */

export function explainsNoJob(pool) {
  return pool.sync !== null && pool.no_job_reason === NOT_SYNCED;
}

export function syncCard() {
  const part = stat(t('sync.part'), true);
  const bar = h('div', {class: 'fill'});
  const track = h('div', {
    class: 'track', role: 'progressbar', 'aria-label': t('sync.part'),
    'aria-valuemin': '0', 'aria-valuemax': '100'
  }, bar);
  const height = h('dd');
  const newest = h('dd');
  const peers = h('dd');
  const restName = h('dt', {}, t('sync.rest'));
  const rest = h('dd');
  const trouble = h('p', {class: 'note bad'}, pieces('sync.no_peers',
    {option: h('code', {}, '--nodes=HOST')}));
  const then = h('p');
  const element = h('section', {
    class: 'card', id: 'sync', 'aria-labelledby': 'sync-title', hidden: true
  },
  h('div', {class: 'card-head'}, h('h2', {id: 'sync-title'}, t('sync.title'))),
  trouble, part.element, track,
  h('div', {class: 'facts'},
    h('dl', {}, h('dt', {}, t('sync.height')), height,
      h('dt', {}, t('sync.newest')), newest,
      h('dt', {}, t('sync.peers')), peers, restName, rest)),
  then);

  return {
    element,
    /** @param {Object|null} sync - of the pool; null hides the card. */
    show(sync) {
      element.hidden = sync === null;

      if (sync === null)
        return;

      const text = partOfChain(sync);
      const isAhead = sync.peer_height > sync.height;

      part.set(text);
      bar.style.width = `${sync.progress * 100}%`;
      track.setAttribute('aria-valuenow', String(Math.floor(sync.progress * 100)));
      track.setAttribute('aria-valuetext', text);
      setText(height, isAhead ? t('sync.height_of', {
        height: count(sync.height), peers: count(sync.peer_height)
      }) : count(sync.height));
      setText(newest, date(sync.tip_time));
      setText(peers, count(sync.peers));
      restName.hidden = rest.hidden = sync.remaining_s === null;
      setText(rest, t('sync.about', {time: duration(sync.remaining_s)}));
      trouble.hidden = sync.peers > 0;
      setText(then, t(isAhead || sync.peers === 0 ? 'sync.then'
        : 'sync.then_newer'));
    }
  };
}
