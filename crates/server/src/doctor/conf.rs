//! Settings of a node in its files and the environment, read as hsd reads them (bcfg lib/config.js).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, anyhow};

use crate::config::options_in_force::OptionsInForce;
use crate::config::{Config, OptionOrigin, RawOption};

use super::{CheckedPart, FindingSeverity, Findings};

/// Characters of a line that an error shows.
const LINE_CHARS_MAX: usize = 60;

/// Options of hstratum that are secret, or may have a secret in them.
const SECRETS: [&str; 6] = [
    "password",
    "http-token",
    "proxy-secret",
    "webhook",
    "webhook-secret",
    "database",
];

/// Prefix of hstratum's options among hsd's.
const PREFIX: &str = "stratum";

/// Settings of the node and of hstratum.
pub(super) struct NodeSettings {
    /// hstratum's options; `None` if they are wrong.
    pub config: Option<Config>,
    /// Number of hstratum's options given in files and the environment.
    pub given: usize,
    /// hsd's own options, by their names without hyphens.
    pub node: BTreeMap<String, String>,
}

/// Settings by name.
type Lines = Vec<(String, String)>;

impl NodeSettings {
    /// Reads `hsd.conf`, `stratum.conf` and the environment.
    pub(super) fn read(
        dir: &Path,
        environment: &[(String, String)],
        findings: &mut Findings,
    ) -> Self {
        let hsd = read_file(&dir.join("hsd.conf"), &["api-key"], findings);
        let environment: Lines = environment
            .iter()
            .filter_map(|(name, value)| Some((variable(name)?, value.clone())))
            .collect();
        // hsd ignores options without a value.
        let of_node = hsd.iter().flatten().chain(&environment);
        let of_node = of_node.filter(|(_, value)| !value.is_empty());
        let node: BTreeMap<String, String> = of_node
            .map(|(key, value)| (key.replace('-', ""), value.clone()))
            .collect();

        let own = node.get("stratumconfig").map(PathBuf::from);
        if let Some(own) = own.as_ref().filter(|own| !own.exists()) {
            findings.problem(
                CheckedPart::Configuration,
                format!("{} is not there", own.display()),
                "stratum-config names it: make it, or name another",
            );
        }
        let own = own.unwrap_or_else(|| dir.join("stratum.conf"));
        let stratum = read_file(&own, &SECRETS, findings);
        let (Some(hsd), Some(stratum)) = (hsd, stratum) else {
            return Self {
                config: None,
                given: 0,
                node,
            };
        };

        let mut options = ours(&hsd, OptionOrigin::File);
        options.extend(stratum.iter().map(|(key, value)| RawOption {
            key: key.clone(),
            value: value.clone(),
            origin: OptionOrigin::File,
        }));
        options.extend(ours(&environment, OptionOrigin::Environment));
        options.retain(|option| option.key != "config");
        let config = match Config::parse(&options) {
            Ok(config) => {
                look(&config, findings);
                Some(config)
            }
            Err(error) => {
                findings.problem(
                    CheckedPart::Configuration,
                    error,
                    format!("the node does not start with it: correct {}", own.display()),
                );
                None
            }
        };
        Self {
            config,
            given: options.len(),
            node,
        }
    }

    /// Reports the addresses that miners meet: those of the running node, or else those in files and the
    /// environment, which flags may have changed.
    pub(super) fn tell(&self, in_force: Option<&OptionsInForce>, findings: &mut Findings) {
        let Some(config) = &self.config else { return };
        let place = SocketAddr::new(config.host, config.port);
        let what = match self.given {
            0 => "no options in stratum.conf, hsd.conf or the environment".to_owned(),
            1 => "1 option in files and the environment is valid".to_owned(),
            given => format!("{given} options in files and the environment are valid"),
        };
        let (facts, auth, has_password) = match in_force {
            Some(options) => {
                let facts = format!(
                    "{what}; the node listens on {}",
                    options.listeners.join(", ")
                );
                let auth = options.auth.as_str();
                (facts, auth, options.has_password)
            }
            None => {
                let facts = format!(
                    "{what}: miners connect to {place}, unless flags given to hsd, which are not \
                     visible here, say otherwise"
                );
                (facts, config.auth.name(), config.password.is_some())
            }
        };
        findings.ok(CheckedPart::Configuration, facts);
        let who = match auth {
            "open" => "anybody may mine, by any name",
            "users" => "only accounts that were added may mine",
            _ => "anybody may mine, by an address as name",
        };
        let how = match has_password {
            true => "an admin's password is set",
            false => {
                "no admin's password is set: accounts are added by hsd-rpc, and with http-token in the console"
            }
        };
        let unless = match in_force {
            Some(_) => "",
            None => ", unless flags say otherwise",
        };
        findings.ok(CheckedPart::Configuration, format!("{who}; {how}{unless}"));
    }
}

/// The options that a server with this directory has, as far as files and the environment say. Flags of its
/// node cannot be seen.
///
/// # Errors
/// The first problem with them.
pub fn options_of(dir: &Path, environment: &[(String, String)]) -> anyhow::Result<Config> {
    let mut findings = Findings::default();
    let settings = NodeSettings::read(dir, environment, &mut findings);
    let mut problems = findings.0.into_iter();
    match problems.find(|one| one.severity == FindingSeverity::Problem) {
        Some(problem) => Err(anyhow!(problem.text)),
        None => settings.config.context("the options cannot be read"),
    }
}

fn look(config: &Config, findings: &mut Findings) {
    if config.port == 0 {
        findings.warn(
            CheckedPart::Configuration,
            "port is 0: another one at each start",
            "give miners one that stays, as in port: 3008",
        );
    }
    if let Some(files) = &config.tls {
        match crate::net::tls::load(&files.cert, &files.key) {
            Ok(_) => findings.ok(
                CheckedPart::Configuration,
                format!("{} and its key can be used", files.cert.display()),
            ),
            Err(error) => findings.problem(
                CheckedPart::Configuration,
                format!("{error:#}"),
                "the node does not start without: correct tls-cert and tls-key",
            ),
        }
    }
}

/// The lines of a file; `None` if it is malformed. A missing file has none.
fn read_file(path: &Path, secrets: &[&str], findings: &mut Findings) -> Option<Lines> {
    let name = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Lines::new()),
        Err(error) => {
            findings.problem(
                CheckedPart::Configuration,
                format!("failed to read {name}: {error}"),
                "run this as the user of the node",
            );
            return None;
        }
    };
    let lines = match parse(&text) {
        Ok(lines) => lines,
        Err(error) => {
            findings.problem(
                CheckedPart::Configuration,
                format!("{name}: {error}"),
                "the node does not start with it: write lines like port: 3008",
            );
            return None;
        }
    };
    let is_there = |secret: &&str| {
        let key = secret.replace('-', "");
        let mut found = lines.iter().filter(|(_, value)| !value.is_empty());
        found.any(|(found, _)| found.replace('-', "") == key)
    };
    let held: Vec<&str> = secrets.iter().copied().filter(is_there).collect();
    let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if !held.is_empty() && mode & 0o077 != 0 {
        findings.warn(
            CheckedPart::Configuration,
            format!("{name} has {}, and others may read it", held.join(", ")),
            format!("chmod 600 {name}"),
        );
    }
    Some(lines)
}

/// Parses a file's text: `key: value` lines, comments, and lines continued after a backslash.
fn parse(text: &str) -> Result<Lines, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Lines::new();
    for (index, line) in text.replace("\\\n", "").split('\n').enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The value is left out, since it may be a password.
        let shown: String = line.chars().take(LINE_CHARS_MAX).collect();
        let Some((key, value)) = line.split_once(':') else {
            return Err(format!(
                "line {}: expected NAME: VALUE, found {shown:?}",
                index + 1
            ));
        };
        let key = key.trim();
        if !is_key(&key.replace('-', "")) {
            return Err(format!(
                "line {}: not the name of an option: {key:?}",
                index + 1
            ));
        }
        lines.push((key.to_owned(), value.trim().to_owned()));
    }
    Ok(lines)
}

fn is_key(key: &str) -> bool {
    let is_known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !key.is_empty() && key.bytes().all(is_known)
}

/// Name of the option that a variable `HSD_…` sets.
fn variable(name: &str) -> Option<String> {
    let key = name.strip_prefix("HSD_")?.replace('_', "-");
    let is_known = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
    let fits = !key.replace('-', "").is_empty() && key.bytes().all(is_known);
    fits.then(|| key.to_lowercase())
}

/// Those of hsd's settings that are for hstratum.
fn ours(lines: &Lines, origin: OptionOrigin) -> Vec<RawOption> {
    let named = lines.iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(PREFIX)?.trim_start_matches('-');
        let key = Some(key).filter(|key| !key.is_empty())?;
        Some(RawOption {
            key: key.to_owned(),
            value: value.clone(),
            origin,
        })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_hsd_reads_them() {
        let text = "\u{feff}# comment\r\n\r\npublic-host: a:b \nport: 30\\\n08\nempty:\nx: y # z\n";
        let lines = parse(text).expect("well formed");
        let expected = [
            ("public-host", "a:b"),
            ("port", "3008"),
            ("empty", ""),
            ("x", "y # z"),
        ];
        assert_eq!(
            lines,
            expected.map(|(key, value)| (key.into(), value.into()))
        );
        for (text, line) in [("port = 3008", "line 1"), ("a: b\n\nPort: 1\n", "line 3")] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(line), "{error}");
        }
    }

    #[test]
    fn the_environment_and_stratum_conf_override_hsd_conf() {
        let dir = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write(
            "hsd.conf",
            "api-key: k\nstratum-port: 1\nstratum-difficulty: 4\n",
        );
        write("stratum.conf", "port: 2\nmax-inbound: 5\n");
        let environment = [
            ("HSD_STRATUM_MAX_INBOUND".into(), "7".into()),
            ("HSD_HTTP_PORT".into(), "9".into()),
            ("HSD_API_KEY".into(), String::new()),
        ];
        let mut findings = Findings::default();
        let settings = NodeSettings::read(dir.path(), &environment, &mut findings);
        let config = settings.config.expect("valid");
        assert_eq!((config.port, config.max_inbound), (2, 7));
        assert_eq!(config.difficulty.get(), 4.0);
        assert_eq!(settings.node["apikey"], "k");
        assert_eq!(settings.node["httpport"], "9");
        let readable = &findings.0[0];
        assert!(readable.text.contains("others may read it"), "{readable:?}");
    }

    #[test]
    fn what_stops_the_node_is_a_problem() {
        for (name, text, says) in [
            ("stratum.conf", "prot: 1\n", "did you mean port"),
            ("stratum.conf", "stratum-port: 1\n", "did you mean port"),
            (
                "stratum.conf",
                "password:\n",
                "password in stratum.conf: it is empty",
            ),
            ("hsd.conf", "stratum-password:\n", "it is empty"),
            ("stratum.conf", "port 1\n", "line 1"),
            ("hsd.conf", "port 1\n", "line 1"),
            (
                "hsd.conf",
                "stratum-config: /nonexistent/x\n",
                "is not there",
            ),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            fs::write(dir.path().join(name), text).expect("written");
            let mut findings = Findings::default();
            NodeSettings::read(dir.path(), &[], &mut findings);
            let found = &findings.0[0];
            assert_eq!(found.severity, FindingSeverity::Problem);
            assert!(found.text.contains(says), "{found:?}");
        }
    }
}
