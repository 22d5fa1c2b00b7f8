// A hashrate over time, and its share of the network's.

import {get, h, setText} from './dom.js';
import {date, number, percent, rate, rateParts} from './format.js';
import {locale, t} from './language.js';

const HEIGHT = 330;
/** Ranges of the API, and as they are called on a button and in a sentence. */
const RANGES = [['day', t('chart.range.day'), t('chart.last.day')],
  ['week', t('chart.range.week'), t('chart.last.week')],
  ['year', t('chart.range.year'), t('chart.last.year')]];
const month = new Intl.DateTimeFormat(locale, {month: 'short'});
/** Names that uPlot writes dates with. */
const NAMES = {
  MMM: [...Array(12).keys()].map(place => month.format(new Date(2000, place)))
};
const dark = matchMedia('(prefers-color-scheme: dark)');
/** A page has one chart; those of pages before it are gone. */
let shown = null;

dark.addEventListener('change', () => shown && shown.draw());

export class Chart {
  /** @param {Object} options - title, path, params, withShare. */

  constructor({title, path, params = {}, withShare}) {
    this.path = path;
    this.params = params;
    this.withShare = withShare;
    this.range = 'day';
    this.plot = null;
    this.history = null;

    this.readout = h('p', {class: 'readout', 'aria-live': 'off'});
    this.holder = h('div', {class: 'plot', role: 'img'});
    this.empty = h('p', {class: 'empty', hidden: true}, t('chart.none'));
    this.buttons = RANGES.map(([range, text]) => h('button', {
      type: 'button', 'aria-pressed': String(range === this.range),
      onclick: () => this.choose(range)
    }, text));
    this.element = h('section', {class: 'card chart', id: 'hashrate'},
      h('div', {class: 'card-head'}, h('h2', {}, title),
        h('div', {
          class: 'choice', role: 'group', 'aria-label': t('chart.ranges')
        }, this.buttons)),
      this.readout, this.holder, this.empty);

    new ResizeObserver(() => this.resize()).observe(this.holder);
    shown = this;
  }

  choose(range) {
    this.range = range;
    RANGES.forEach(([other], place) => {
      this.buttons[place].setAttribute('aria-pressed', String(other === range));
    });
    this.refresh();
  }

  async refresh() {
    const {range} = this;

    try {
      const query = new URLSearchParams({...this.params, range});
      const history = await get(`${this.path}?${query}`);

      if (range !== this.range)
        return;

      this.history = history;
      this.draw();
    } catch (e) {
      // The next refresh tries again; the banner says that the server is away.
    }
  }

  /** Points of the chart, with zero for a step without shares. */

  series() {
    const {points, step_s: step} = this.history;
    const byTime = new Map(points.map(point => [point.time, point]));
    const times = [];
    const rates = [];
    const shares = [];
    const last = points[points.length - 1].time;

    for (let time = points[0].time; time <= last; time += step) {
      const point = byTime.get(time);
      const network = point && point.network_hashrate;

      times.push(time + step / 2);
      rates.push(point ? point.hashrate : 0);
      shares.push(network && point.hashrate != null
        ? point.hashrate / network : point ? null : 0);
    }

    return this.withShare ? [times, rates, shares] : [times, rates];
  }

  draw() {
    if (!this.history)
      return;

    const {points} = this.history;
    const isEmpty = points.length < 2;

    this.empty.hidden = !isEmpty;
    this.holder.hidden = isEmpty;
    this.readout.hidden = isEmpty;

    if (this.plot) {
      this.plot.destroy();
      this.plot = null;
    }

    if (isEmpty)
      return;

    this.data = this.series();
    this.plot = new uPlot(this.options(), this.data, this.holder);
    this.describe(null);

    const rates = this.data[1].filter(value => value != null);
    const peak = Math.max(...rates);
    const [, , last] = RANGES.find(([range]) => range === this.range);

    this.holder.setAttribute('aria-label', t('chart.summary', {
      last, now: rate(rates[rates.length - 1]), most: rate(peak),
      least: rate(Math.min(...rates))
    }));
  }

  options() {
    const style = getComputedStyle(document.documentElement);
    const color = name => style.getPropertyValue(name).trim();
    const [, unit] = rateParts(Math.max(...this.data[1]));
    const power = 1000 ** ['H/s', 'kH/s', 'MH/s', 'GH/s', 'TH/s', 'PH/s',
      'EH/s', 'ZH/s'].indexOf(unit);
    const axis = {
      stroke: color('--faint'), font: '12px system-ui, sans-serif',
      grid: {stroke: color('--line'), width: 1}, ticks: {show: false}
    };
    const short = value => number(Number((value / power).toPrecision(3)));
    const series = [{}, {
      scale: 'y', stroke: color('--accent'), width: 2,
      fill: color('--accent-soft'), points: {show: false}
    }];
    // In uPlot's names, which it replaces.
    const day = t('chart.date', {day: '{D}', month: '{MMM}'});
    const clock = [
      [86400 * 28, day, null, null, null, null, null, null, 1],
      [86400, day, null, null, null, null, null, null, 1],
      [60, '{HH}:{mm}', `\n${day}`, null, `\n${day}`, null, null, null, 1]
    ];
    const axes = [{...axis, grid: {show: false}, space: 90, values: clock}, {
      ...axis, scale: 'y', size: 68,
      values: (_, values) => values.map(value => `${short(value)} ${unit}`)
    }];
    const scales = {x: {time: true}, y: {range: (_, min, max) => [0, max * 1.1]}};

    if (this.withShare) {
      series.push({
        scale: 'share', stroke: color('--second'), width: 1.5,
        dash: [4, 4], points: {show: false}
      });
      axes.push({
        ...axis, scale: 'share', side: 1, size: 62, grid: {show: false},
        values: (_, values) => values.map(value => percent(value))
      });
      scales.share = {range: (_, min, max) => [0, (max || 0.01) * 1.6]};
    }

    return {
      width: this.holder.clientWidth, height: HEIGHT, series, axes, scales,
      legend: {show: false}, fmtDate: text => uPlot.fmtDate(text, NAMES),
      cursor: {y: false, drag: {x: false, y: false}},
      hooks: {setCursor: [plot => this.describe(plot.cursor.idx)]}
    };
  }

  /** Show the step under the pointer, or the last one. */

  describe(place) {
    const [times, rates, shares] = this.data;
    const at = place === null || place === undefined ? times.length - 1 : place;
    const half = this.history.step_s / 2;
    const parts = [date(times[at] - half), rate(rates[at])];

    if (this.withShare && shares[at] !== null)
      parts.push(t('chart.share', {percent: percent(shares[at])}));

    setText(this.readout, parts.join('  ·  '));
  }

  resize() {
    const width = this.holder.clientWidth;

    if (this.plot && width > 0 && this.plot.width !== width)
      this.plot.setSize({width, height: HEIGHT});
  }
}
