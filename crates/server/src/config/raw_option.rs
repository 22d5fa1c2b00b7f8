//! An option as given, before it is checked.

use std::fmt;

/// Origin of an option. A later one in this order overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptionOrigin {
    /// A line `public-host: …` of `stratum.conf`.
    File,
    /// `HSD_STRATUM_PUBLIC_HOST=…`.
    Environment,
    /// `--stratum-public-host …`.
    Flag,
}

/// An option as given.
#[derive(Clone, PartialEq, Eq)]
pub struct RawOption {
    /// Its name without prefix, in lower case, as it was typed: `public-host`, or without hyphens.
    pub key: String,
    /// The text given; a bare flag arrives as `true`.
    pub value: String,
    /// Its origin.
    pub origin: OptionOrigin,
}

impl RawOption {
    /// Its name without hyphens, which are optional.
    pub(crate) fn bare_key(&self) -> String {
        self.key.replace('-', "")
    }

    /// True if a container platform has set it for a service named hsd-stratum: `HSD_STRATUM_PORT=tcp://…`,
    /// `HSD_STRATUM_PORT_3008_TCP_ADDR`, `HSD_STRATUM_SERVICE_HOST`.
    pub fn is_service_link(&self) -> bool {
        if self.origin != OptionOrigin::Environment {
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

/// Does not show the value, which may be a password.
impl fmt::Debug for RawOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawOption({:?}, {:?})", self.key, self.origin)
    }
}

impl OptionOrigin {
    /// Spelling of an option's name in this origin.
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
