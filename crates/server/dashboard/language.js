// The language of the page: its texts, and its locale for Intl. Only the file
// of the chosen language is loaded, before any module that imports this one
// runs.

/** A language for each file in lang/: its own name, and its locale. */
export const LANGUAGES = {
  en: {name: 'English', locale: 'en'},
  zh: {name: '简体中文', locale: 'zh-CN'}
};
const DEFAULT = 'en';
const KEY = 'language';

export const language = [chosen(), ...navigator.languages.map(primary)]
  .find(one => Object.hasOwn(LANGUAGES, one)) || DEFAULT;
const {default: texts} = await import(`./lang/${language}.js`);

export const {locale} = LANGUAGES[language];

export const whole = new Intl.NumberFormat(locale);
const plurals = new Intl.PluralRules(locale);

document.documentElement.lang = locale;

/** The language chosen by hand: kept, or in the address if nothing can be. */

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch (e) {
    return new URLSearchParams(location.search).get(KEY);
  }
}

function primary(tag) {
  return tag.split('-')[0].toLowerCase();
}

/** Choose a language by hand; the page is loaded anew in it. */

export function chooseLanguage(name) {
  try {
    localStorage.setItem(KEY, name);
    location.reload();
  } catch (e) {
    location.search = new URLSearchParams({[KEY]: name});
  }
}

/**
 * A text as strings and elements, for children of an element. `values` are put
 * in place of `{their names}` and never read as markup. `count` is a number: it
 * chooses among plural forms, and is written as the language does.
 */

export function pieces(key, values = {}) {
  const {count} = values;
  const forms = texts[key];
  const text = typeof forms === 'string' ? forms
    : forms[plurals.select(count)] || forms.other;
  const written = count === undefined ? values
    : {...values, count: whole.format(count)};

  return text.split(/\{(\w+)\}/).map((piece, place) => {
    return place % 2 === 0 ? piece : written[piece];
  });
}

export function t(key, values) {
  return pieces(key, values).join('');
}

/** The word for a code of the server, or the code where there is none. */

export function word(group, code) {
  const key = `${group}.${code}`;

  return Object.hasOwn(texts, key) ? t(key) : code;
}
