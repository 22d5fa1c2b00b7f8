// A list of the API: sorted, searched and cut into pages by the server.

import {get, h, renew, setText} from './dom.js';
import {count} from './format.js';
import {t} from './language.js';
import {viewer} from './session.js';

const SEARCH_MS = 250;
let tables = 0;

/**
 * @param {Object} options
 *   title, path, key (of the rows in the answer), empty (element or text),
 *   columns: {title, sort, cell(row), kind: 'number'|'minor', descending,
 *   isShown(answer): else always},
 *   params: always sent; search: label or none; limit; onAnswer(answer);
 *   list(answer): the part with rows and total, else the answer.
 */

export class Table {
  constructor(options) {
    this.options = options;
    this.sort = options.sort || null;
    this.order = options.order || 'desc';
    this.offset = 0;
    this.search = '';
    this.asked = 0;
    this.limit = options.limit || 25;
    this.build();
  }

  build() {
    const {title, columns, search, note} = this.options;
    const id = `table-${tables++}`;

    this.total = h('span', {class: 'count'});
    this.heads = columns.map(column => this.head(column));
    this.body = h('tbody');
    // It is reached by the keyboard, to be scrolled.
    this.table = h('div', {
      class: 'scroll', tabindex: '0', role: 'group', 'aria-labelledby': id
    }, h('table', {'aria-labelledby': id},
      h('thead', {}, h('tr', {}, this.heads)), this.body));
    this.empty = h('div', {class: 'empty', hidden: true});
    this.before = h('button', {
      type: 'button', onclick: () => this.turn(-1)
    }, t('table.previous'));
    this.after = h('button', {
      type: 'button', onclick: () => this.turn(1)
    }, t('table.next'));
    this.where = h('span', {class: 'where', 'aria-live': 'polite'});
    this.pages = h('div', {class: 'pages', hidden: true},
      this.before, this.where, this.after);
    this.field = search && !viewer.isCut ? h('input', {
      type: 'search', placeholder: search, 'aria-label': search,
      maxlength: '128', autocomplete: 'off', spellcheck: 'false',
      oninput: () => this.onSearch()
    }) : null;

    this.element = h('section', {class: 'card', id: this.options.id},
      h('div', {class: 'card-head'},
        h('h2', {id}, title, ' ', this.total), note || null, this.field),
      this.table, this.empty, this.pages);
    this.showSort();
  }

  head({title, sort, kind, isShown, descending = true}) {
    const cell = h('th', {scope: 'col', class: kind, hidden: !!isShown});

    if (!sort) {
      cell.append(title);
      return cell;
    }

    cell.append(h('button', {type: 'button', onclick: () => {
      const first = descending ? 'desc' : 'asc';
      const other = descending ? 'asc' : 'desc';
      this.order = this.sort === sort && this.order === first ? other : first;
      this.sort = sort;
      this.offset = 0;
      this.showSort();
      this.refresh();
    }}, title));

    return cell;
  }

  showSort() {
    this.options.columns.forEach(({sort}, place) => {
      const head = this.heads[place];
      const way = this.order === 'asc' ? 'ascending' : 'descending';

      if (sort && sort === this.sort)
        head.setAttribute('aria-sort', way);
      else
        head.removeAttribute('aria-sort');
    });
  }

  onSearch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.search = this.field.value.trim();
      this.offset = 0;
      this.refresh();
    }, SEARCH_MS);
  }

  turn(pages) {
    this.offset = Math.max(0, this.offset + pages * this.limit);
    this.refresh();
  }

  url() {
    const {path, params = {}} = this.options;
    const query = new URLSearchParams({
      ...params, limit: this.limit, offset: this.offset
    });

    if (this.sort) {
      query.set('sort', this.sort);
      query.set('order', this.order);
    }

    if (this.search)
      query.set('search', this.search);

    return `${path}?${query}`;
  }

  /** Load the rows; only the answer to the last request counts. */

  async refresh() {
    const asked = ++this.asked;

    try {
      const answer = await get(this.url());

      if (asked === this.asked)
        this.show(answer);
    } catch (e) {
      if (asked === this.asked && e.status)
        this.say(e.message);
    }
  }

  show(answer) {
    const {key, columns, empty, onAnswer, list} = this.options;
    const {[key]: rows, total} = list ? list(answer) : answer;

    // The rows of this page are gone.
    if (rows.length === 0 && this.offset > 0) {
      this.offset = 0;
      this.refresh();
      return;
    }

    const shown = columns.filter(({isShown}, place) => {
      const isWanted = !isShown || isShown(answer);

      this.heads[place].hidden = !isWanted;
      return isWanted;
    });

    renew(this.body, ...rows.map((row) => {
      return h('tr', {}, shown.map(({kind, cell}) => {
        return h('td', {class: kind}, cell(row));
      }));
    }));

    setText(this.total, total > 0 ? count(total) : '');
    this.say(rows.length > 0 ? null
      : this.search ? t('table.none_found') : empty);
    this.showPages(rows.length, total);

    if (onAnswer)
      onAnswer(answer);
  }

  say(what) {
    this.empty.hidden = what === null;
    this.table.hidden = what !== null;

    if (what !== null)
      this.empty.replaceChildren(typeof what === 'function' ? what() : what);
  }

  showPages(rows, total) {
    this.pages.hidden = total <= this.limit;
    this.before.disabled = this.offset === 0;
    this.after.disabled = this.offset + rows >= total;
    setText(this.where, t('table.where', {
      first: count(this.offset + 1), last: count(this.offset + rows),
      total: count(total)
    }));
  }
}
