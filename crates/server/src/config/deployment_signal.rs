//! Option `signal`: the deployments that the pool's blocks signal for in their version. The names that there
//! are depend on the node's network, so they are checked when that is known.

use super::option_value::parse_list;
use super::{ConfigError, FOUND_CHARS_MAX};

/// Names of one list; a version has 32 bits.
const NAMES_MAX: usize = 32;

/// Deployments to signal for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeploymentSignal {
    /// Each that is being voted on, as hsd does.
    All,
    /// None.
    None,
    /// Those of these names.
    Names(Vec<String>),
}

/// A deployment of the node's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// Its bit of the block's version.
    pub bit: u32,
}

impl DeploymentSignal {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "all" => Self::All,
            "none" => Self::None,
            // A flag without a value arrives as `true`.
            "true" => return None,
            names => Self::Names(parse_list(names, NAMES_MAX, parse_name)?),
        })
    }

    /// Bits that are cleared in the versions that the node makes.
    ///
    /// # Errors
    /// When the network has no deployment of a name.
    pub fn cleared_bits(&self, network: &str, known: &[Deployment]) -> Result<u32, ConfigError> {
        let wanted: &[String] = match self {
            Self::All => return Ok(0),
            Self::None => &[],
            Self::Names(names) => names,
        };
        let is_known = |name: &String| known.iter().any(|one| one.name == *name);
        if let Some(name) = wanted.iter().find(|name| !is_known(name)) {
            let known: Vec<&str> = known.iter().map(|one| one.name.as_str()).collect();
            let known = match known.as_slice() {
                [] => "none".to_owned(),
                known => known.join(", "),
            };
            return Err(ConfigError(format!(
                "signal: {network} has no deployment {name:?}: expected all, none or names of {known}"
            )));
        }
        let unwanted = known.iter().filter(|one| !wanted.contains(&one.name));
        Ok(unwanted.fold(0, |bits, one| {
            bits | 1_u32.checked_shl(one.bit).unwrap_or(0)
        }))
    }
}

fn parse_name(text: &str) -> Option<String> {
    let fits = (1..=FOUND_CHARS_MAX).contains(&text.len());
    let is_name = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    // These stand alone.
    let is_word = ["all", "none"].contains(&text);
    (fits && is_name && !is_word).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<Deployment> {
        [("hardening", 0), ("airstop", 2), ("testdummy", 28)]
            .map(|(name, bit)| Deployment {
                name: name.to_owned(),
                bit,
            })
            .to_vec()
    }

    fn cleared(text: &str) -> Result<u32, String> {
        let signal = DeploymentSignal::parse(text).expect("well-formed");
        let bits = signal.cleared_bits("regtest", &known());
        bits.map_err(|error| error.to_string())
    }

    #[test]
    fn bits_of_deployments_that_are_not_named_are_cleared() {
        assert_eq!(cleared("all"), Ok(0));
        assert_eq!(cleared("none"), Ok(1 | 1 << 2 | 1 << 28));
        assert_eq!(cleared("airstop"), Ok(1 | 1 << 28));
        assert_eq!(cleared("airstop, hardening"), Ok(1 << 28));
    }

    #[test]
    fn a_name_that_the_network_does_not_have_is_an_error_with_those_it_has() {
        let text = "signal: regtest has no deployment \"airstopp\": expected all, none or names of \
                    hardening, airstop, testdummy";
        assert_eq!(cleared("airstop,airstopp"), Err(text.to_owned()));
        assert_eq!(DeploymentSignal::parse("a b"), None);
        assert_eq!(DeploymentSignal::parse("airstop,"), None);
        assert_eq!(DeploymentSignal::parse("true"), None);
        assert_eq!(DeploymentSignal::parse("all, airstop"), None);
    }
}
