//! Secret texts, which are never logged.

use std::env;
use std::fmt;

use anyhow::bail;

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl Secret {
    /// A secret of the environment; an empty one is none.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn of_environment(name: &str) -> anyhow::Result<Option<Self>> {
        match env::var(name) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some(Self(text))),
            Err(env::VarError::NotPresent) => Ok(None),
            // The error itself would show it.
            Err(env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret("key".to_owned())), "\"…\"");
    }
}
