//! Error texts of wrong options.

use strsim::levenshtein;

use super::{ConfigError, FOUND_CHARS_MAX, OPTIONS, OptionSpec};
use crate::config::raw_option::{OptionOrigin, RawOption};

pub(super) fn malformed(spec: &OptionSpec, option: &RawOption) -> ConfigError {
    let found = match spec.name {
        // Its length is no useful information.
        "database" => "something else".to_owned(),
        "password" | "http-token" | "proxy-secret" | "webhook" | "webhook-secret" | "smtp"
        | "telegram" => {
            format!("{} bytes", option.value.len())
        }
        _ => format!("{:?}", cut(&option.value)),
    };
    ConfigError(format!(
        "{}: expected {}, found {found}",
        option.origin.spell(spec.name),
        spec.expected
    ))
}

/// Error for an empty value, as an unset shell variable produces it.
pub(super) fn empty(spec: &OptionSpec, option: &RawOption) -> ConfigError {
    ConfigError(format!(
        "{}: it is empty: expected {}, or no such option at all",
        option.origin.spell(spec.name),
        spec.expected
    ))
}

pub(super) fn unknown(option: &RawOption) -> ConfigError {
    // Escaped, since a line break would split the log line.
    let key = cut(&option.key).escape_debug().to_string();
    // The prefix belongs to flags, and is easily left in a file.
    let bare = key.replace('-', "");
    let bare = bare.strip_prefix("stratum").unwrap_or(&bare);
    let nearest = OPTIONS
        .iter()
        .map(|spec| (levenshtein(&spec.key(), bare), spec.name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let suggestion = nearest.map_or(String::new(), |(_, name)| {
        let name = match option.origin {
            OptionOrigin::File => name.to_owned(),
            origin => origin.spell(name),
        };
        format!(", did you mean {name}?")
    });
    ConfigError(format!(
        "{}: unknown option{suggestion}",
        option.origin.spell(&key)
    ))
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(FOUND_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
