//! An option as it was given, before anybody has judged it.

use std::fmt;

/// Where an option was given. A later one in this order overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line `public-host: …` of `stratum.conf`.
    File,
    /// `HSD_STRATUM_PUBLIC_HOST=…`.
    Environment,
    /// `--stratum-public-host …`.
    Flag,
}

/// An option as it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct RawOption {
    /// Its name without prefix, in lower case, as it was typed: `public-host`, or without hyphens.
    pub key: String,
    /// The text given; a bare flag arrives as `true`.
    pub value: String,
    /// Where it was given.
    pub origin: Origin,
}

impl RawOption {
    /// Its name without hyphens, which nobody needs to type.
    pub(crate) fn bare_key(&self) -> String {
        self.key.replace('-', "")
    }

    /// Whether a container platform has set it for a service by the name of hsd-stratum:
    /// `HSD_STRATUM_PORT=tcp://…`, `HSD_STRATUM_PORT_3008_TCP_ADDR`, `HSD_STRATUM_SERVICE_HOST`.
    pub fn is_service_link(&self) -> bool {
        if self.origin != Origin::Environment {
            return false;
        }
        let key = self.bare_key();
        let rest = key.strip_prefix("port").unwrap_or_default();
        let kind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_port = kind.len() < rest.len()
            && ["tcp", "udp", "sctp"]
                .iter()
                .any(|name| kind.starts_with(name));
        is_port
            || key == "servicehost"
            || key.starts_with("serviceport")
            || (key == "port" && self.value.contains("://"))
    }
}

/// Shows no value: it may be the password.
impl fmt::Debug for RawOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawOption({:?}, {:?})", self.key, self.origin)
    }
}

impl Origin {
    /// An option's name as one writes it there.
    pub fn spell(self, name: &str) -> String {
        match self {
            Self::Flag => format!("--stratum-{name}"),
            Self::Environment => {
                format!("HSD_STRATUM_{}", name.replace('-', "_").to_uppercase())
            }
            Self::File => format!("{name} in stratum.conf"),
        }
    }
}
