//! The options of the ways by which accounts are told.

use std::net::IpAddr;

use lettre::SmtpTransport;
use lettre::message::Mailbox;
use ureq::http::Uri;

use super::webhook;
use crate::secret::Secret;

/// Ways by which accounts may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertWays {
    /// The relay that takes mail, and from whom it is.
    pub mail: Option<MailRelay>,
    /// URL of the Telegram bot's methods, `https://api.telegram.org/bot` and its token.
    pub telegram: Option<Secret>,
    /// Servers of ntfy whose topics may be used.
    pub ntfy: Vec<NtfyServer>,
}

/// A relay that takes mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRelay {
    /// Its URL, which may hold a password.
    pub url: Secret,
    /// From whom mail is.
    pub from: Mailbox,
}

/// A server of ntfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtfyServer {
    /// Host, and the port where there is one.
    pub host: String,
    /// URL of its root, without a slash at the end.
    pub url: String,
}

impl AlertWays {
    /// The options together.
    ///
    /// # Errors
    /// When one of mail's two is missing.
    pub(super) fn from_options(
        (smtp, smtp_from): (Option<Secret>, Option<Mailbox>),
        telegram: Option<Secret>,
        ntfy: Option<Vec<NtfyServer>>,
    ) -> Result<Self, String> {
        let refused = |text: &str| Err(text.to_owned());
        let mail = match (smtp, smtp_from) {
            (Some(url), Some(from)) => Some(MailRelay { url, from }),
            (None, None) => None,
            (Some(_), None) => return refused("smtp needs smtp-from, from whom mail is"),
            (None, Some(_)) => return refused("smtp-from is not used, since there is no smtp"),
        };
        Ok(Self {
            mail,
            telegram,
            ntfy: ntfy.unwrap_or_default(),
        })
    }

    /// True if there is any.
    pub(crate) fn is_any(&self) -> bool {
        self.mail.is_some() || self.telegram.is_some() || !self.ntfy.is_empty()
    }
}

/// A relay's URL. Without TLS only one on this machine is spoken to.
pub(super) fn parse_smtp(text: &str) -> Option<Secret> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?;
    let is_safe = match uri.scheme_str()? {
        "smtps" => uri.query().is_none(),
        "smtp" => match uri.query() {
            Some(query) => query == "tls=required",
            None => is_here(host),
        },
        _ => false,
    };
    // Else a password with a slash in it ends the host's name.
    let is_root = matches!(uri.path(), "" | "/");
    let is_known = is_safe && is_root && SmtpTransport::from_url(text).is_ok();
    is_known.then(|| Secret(text.to_owned()))
}

/// True for this machine.
fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The URL of a bot's methods.
pub(super) fn parse_telegram(text: &str) -> Option<Secret> {
    let (_, token) = text.rsplit_once("/bot")?;
    let is_token = !token.is_empty() && !token.contains('/');
    webhook::parse_url(text).filter(|_| is_token)
}

/// URLs of servers, separated by commas.
pub(super) fn parse_ntfy(text: &str) -> Option<Vec<NtfyServer>> {
    text.split(',').map(ntfy_server).collect()
}

fn ntfy_server(text: &str) -> Option<NtfyServer> {
    let text = text.trim();
    let uri: Uri = webhook::parse_url(text)?.0.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let is_root = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let is_safe = uri.scheme_str() == Some("https") || uri.host().is_some_and(is_here);
    (is_root && is_safe && !authority.contains('@')).then(|| NtfyServer {
        host: authority.to_owned(),
        url: text.trim_end_matches('/').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_crosses_the_network_only_by_tls() {
        for (url, is_taken) in [
            ("smtps://u:p@mail.example.com", true),
            ("smtps://u:p@mail.example.com:465", true),
            ("smtp://u:p@mail.example.com:587?tls=required", true),
            ("smtp://127.0.0.1:2525", true),
            ("smtp://localhost", true),
            ("smtp://[::1]:25", true),
            ("smtp://mail.example.com:587", false),
            ("smtp://mail.example.com:587?tls=opportunistic", false),
            ("smtps://u:p@mail.example.com?tls=none", false),
            ("https://mail.example.com", false),
            ("mail.example.com", false),
            ("smtps://u:p@ss/w@mail.example.com", false),
            ("smtps://u:p%40ss%2Fw@mail.example.com", true),
        ] {
            assert_eq!(parse_smtp(url).is_some(), is_taken, "{url}");
        }
    }

    #[test]
    fn ntfy_is_a_list_of_roots() {
        let servers = parse_ntfy("https://ntfy.sh, http://127.0.0.1:8080/").expect("two");
        assert_eq!(servers[0].host, "ntfy.sh");
        assert_eq!(servers[1].url, "http://127.0.0.1:8080");
        for wrong in [
            "ntfy.sh",
            "http://ntfy.sh",
            "https://ntfy.sh/topic",
            "https://u@ntfy.sh",
            "https://a,",
        ] {
            assert_eq!(parse_ntfy(wrong), None, "{wrong}");
        }
        for (bot, is_taken) in [
            ("https://api.telegram.org/bot12:ab", true),
            ("https://api.telegram.org/bot", false),
            ("https://api.telegram.org/12:ab", false),
        ] {
            assert_eq!(parse_telegram(bot).is_some(), is_taken, "{bot}");
        }
    }
}
