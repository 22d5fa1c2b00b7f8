// Numbers in a form for people.

const RATES = ['H/s', 'kH/s', 'MH/s', 'GH/s', 'TH/s', 'PH/s', 'EH/s', 'ZH/s'];
const NONE = '–';
const BASE_UNITS = 1e6;

const whole = new Intl.NumberFormat('en');
const coins = new Intl.NumberFormat('en', {
  minimumFractionDigits: 2, maximumFractionDigits: 6
});
const clock = new Intl.DateTimeFormat('en', {
  dateStyle: 'medium', timeStyle: 'short'
});

/** Two significant digits at least. */

function digits(value) {
  if (value > 0 && value < 1)
    return String(Number(value.toPrecision(2)));
  if (value >= 100)
    return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
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

  return place === 0 ? String(Number(value.toPrecision(4)))
    : `${digits(value / 1000 ** place)}${units[place]}`;
}

export function percent(part) {
  if (part === null || part === undefined)
    return NONE;

  const value = part * 100;

  if (value === 0)
    return '0 %';

  if (value < 0.01)
    return '< 0.01 %';

  return `${value >= 100 ? whole.format(Math.round(value)) : digits(value)} %`;
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

  if (s < 60)
    return `${s} s`;

  if (s < 3600)
    return `${Math.floor(s / 60)} min`;

  if (s < 86400)
    return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;

  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

export function ago(time) {
  if (time === null || time === undefined)
    return NONE;

  const seconds = Date.now() / 1000 - time;

  return seconds < 60 ? 'just now' : `${duration(seconds)} ago`;
}

/** A time that is to come. */

export function ahead(time) {
  return `in ${duration(Math.max(0, time - Date.now() / 1000))}`;
}

export function date(time) {
  return clock.format(new Date(time * 1000));
}

export function shortHash(hash) {
  // The first digits of a block's hash are zeros.
  return `…${hash.slice(-10)}`;
}
