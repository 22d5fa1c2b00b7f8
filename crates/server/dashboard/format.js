// Numbers and times in a form for people, as their language writes them.

import {locale, t, whole} from './language.js';

const RATES = ['H/s', 'kH/s', 'MH/s', 'GH/s', 'TH/s', 'PH/s', 'EH/s', 'ZH/s'];
const NONE = '–';
const BASE_UNITS = 1e6;

const coins = new Intl.NumberFormat(locale, {
  minimumFractionDigits: 2, maximumFractionDigits: 6
});
const clock = new Intl.DateTimeFormat(locale, {
  dateStyle: 'medium', timeStyle: 'short'
});
const plain = new Intl.NumberFormat(locale, {
  maximumFractionDigits: 20, useGrouping: false
});
const fixed = [0, 1, 2].map(places => new Intl.NumberFormat(locale, {
  minimumFractionDigits: places, maximumFractionDigits: places,
  useGrouping: false
}));

/** A number with the digits it has, and no separators of thousands. */

export function number(value) {
  return plain.format(value);
}

/** A number with as many decimals as are asked for, 0 to 2. */

function decimals(value, places) {
  // First cut here: Intl rounds the shortest decimal and not the number.
  return fixed[places].format(Number(value.toFixed(places)));
}

/** Two significant digits at least. */

function digits(value) {
  if (value > 0 && value < 1)
    return number(Number(value.toPrecision(2)));
  if (value >= 100)
    return decimals(value, 0);
  return decimals(value, value >= 10 ? 1 : 2);
}

/** [number, unit] of a hashrate. */

export function rateParts(value) {
  if (value === null || value === undefined)
    return [NONE, ''];

  if (value === 0)
    return ['0', RATES[0]];

  const power = Math.floor(Math.log10(Math.max(value, 1)) / 3);
  const place = Math.min(RATES.length - 1, power);

  return [digits(value / 1000 ** place), RATES[place]];
}

export function rate(value) {
  return rateParts(value).join(' ').trim();
}

export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

export function difficulty(value) {
  if (value === null || value === undefined)
    return NONE;

  if (value > 0 && value < 0.001)
    return value.toExponential(1);

  const units = ['', 'k', 'M', 'G', 'T', 'P'];
  const power = value < 1000 ? 0 : Math.floor(Math.log10(value) / 3);
  const place = Math.min(units.length - 1, power);

  return place === 0 ? number(Number(value.toPrecision(4)))
    : `${digits(value / 1000 ** place)}${units[place]}`;
}

export function percent(part) {
  if (part === null || part === undefined)
    return NONE;

  const value = part * 100;

  if (value === 0)
    return percentage(number(0));

  if (value < 0.01)
    return percentage(`< ${number(0.01)}`);

  return percentage(value >= 100 ? whole.format(Math.round(value))
    : digits(value));
}

/** A number that is in percent already, with the sign. */

export function percentage(number) {
  return t('text.percent', {number});
}

/** [number, unit] of an amount. */

export function amountParts(units) {
  return units === null || units === undefined
    ? [NONE, ''] : [coins.format(units / BASE_UNITS), 'HNS'];
}

export function amount(units) {
  return amountParts(units).join(' ').trim();
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));

  const min = Math.floor(s / 60);
  const h = Math.floor(min / 60);
  const d = Math.floor(h / 24);

  if (s < 60)
    return t('time.s', {s: number(s)});

  if (h === 0)
    return t('time.min', {min: number(min)});

  if (d === 0)
    return t('time.h', {h: number(h), min: number(min % 60)});

  return t('time.d', {d: number(d), h: number(h % 24)});
}

/** Milliseconds, or seconds where they are many. */

export function millis(ms) {
  return Math.abs(ms) < 1000
    ? t('time.ms', {ms: decimals(ms, Math.abs(ms) < 10 ? 1 : 0)})
    : t('time.s', {s: decimals(ms / 1000, 1)});
}

export function ago(time) {
  if (time === null || time === undefined)
    return NONE;

  const seconds = Date.now() / 1000 - time;

  return seconds < 60 ? t('time.now')
    : t('time.ago', {time: duration(seconds)});
}

/** A time that is to come. */

export function ahead(time) {
  const seconds = Math.max(0, time - Date.now() / 1000);

  return t('time.ahead', {time: duration(seconds)});
}

export function date(time) {
  return clock.format(new Date(time * 1000));
}

export function shortHash(hash) {
  // The first digits of a block's hash are zeros.
  return `…${hash.slice(-10)}`;
}
