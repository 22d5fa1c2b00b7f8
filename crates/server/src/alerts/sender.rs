//! Sends messages: to the mail relay, the Telegram bot and the servers of ntfy that the operator has named, and nowhere
//! else. A miner names a mailbox, a chat or a topic, never an address of a network.

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{Address, SmtpTransport, Transport};
use serde_json::{Value, json};
use ureq::Agent;

use super::texts::Message;
use crate::config::alert_ways::AlertWays;
use crate::contacts::way::Way;
use crate::limits::{ALERT_CALL, CONTACT_BYTES_MAX};

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotTaken {
    /// For whoever is not told: not more than a number.
    pub(super) for_miner: String,
    /// For the operator.
    pub(super) for_operator: String,
}

/// Sender of messages.
pub(super) struct Sender {
    ways: AlertWays,
    agent: Agent,
}

impl Sender {
    pub(super) fn new(ways: AlertWays) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ALERT_CALL))
            .user_agent(concat!("hstratum/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            ways,
            agent: Agent::new_with_config(config),
        }
    }

    /// The ways that the operator has set up.
    pub(super) fn ways(&self) -> Vec<Way> {
        let has = |way: &Way| match way {
            Way::Mail => self.ways.mail.is_some(),
            Way::Telegram => self.ways.telegram.is_some(),
            Way::Ntfy => !self.ways.ntfy.is_empty(),
        };
        Way::ALL.into_iter().filter(has).collect()
    }

    /// Hosts of ntfy whose topics may be used.
    pub(super) fn ntfy_hosts(&self) -> Vec<String> {
        let servers = self.ways.ntfy.iter();
        servers.map(|server| server.host.clone()).collect()
    }

    /// What a contact of that way is stored as.
    ///
    /// # Errors
    /// Text about what is wrong with it.
    pub(super) fn target(&self, way: Way, text: &str) -> Result<String, String> {
        let text = text.trim();
        if text.len() > CONTACT_BYTES_MAX {
            return Err(format!("longer than {CONTACT_BYTES_MAX} bytes"));
        }
        match way {
            Way::Mail => {
                let address = text.parse::<Address>();
                let address = address.map_err(|_| "expected a mail address".to_owned())?;
                Ok(address.to_string())
            }
            Way::Telegram => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                match is_number && text.parse::<i64>().is_ok() {
                    true => Ok(text.to_owned()),
                    false => Err("expected a chat's number".to_owned()),
                }
            }
            Way::Ntfy => self.topic(text),
        }
    }

    /// A topic as `HOST/TOPIC`; the host may be left out where there is one only.
    fn topic(&self, text: &str) -> Result<String, String> {
        let hosts = self.ntfy_hosts();
        let (host, topic) = match (text.rsplit_once('/'), &hosts[..]) {
            (Some(parts), _) => parts,
            (None, [host]) => (host.as_str(), text),
            (None, _) => return Err(format!("expected HOST/TOPIC with {}", hosts.join(" or "))),
        };
        if !hosts.iter().any(|allowed| allowed == host) {
            return Err(format!("the host must be {}", hosts.join(" or ")));
        }
        let is_topic = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if topic.is_empty() || topic.len() > 64 || !topic.bytes().all(is_topic) {
            return Err("expected a topic of 1 to 64 letters, digits, - and _".to_owned());
        }
        Ok(format!("{host}/{topic}"))
    }

    /// Sends a message to a contact as stored. Waits some seconds at most.
    pub(super) fn send(&self, way: Way, target: &str, message: &Message) -> Result<(), NotTaken> {
        let gone = || NotTaken::of("the pool has this way no more".to_owned(), "");
        match way {
            Way::Mail => self.mail(target, message),
            Way::Telegram => {
                let bot = self.ways.telegram.as_ref().ok_or_else(gone)?;
                let body = json!({
                    "chat_id": target,
                    "text": message.text,
                    "link_preview_options": {"is_disabled": true},
                });
                self.post(&format!("{}/sendMessage", bot.0), &body)
            }
            Way::Ntfy => {
                let (host, topic) = target.rsplit_once('/').ok_or_else(gone)?;
                let allowed = |server: &&crate::config::alert_ways::NtfyServer| server.host == host;
                let server = self.ways.ntfy.iter().find(allowed).ok_or_else(gone)?;
                let body = json!({
                    "topic": topic,
                    "title": message.subject,
                    "message": message.text,
                });
                self.post(&server.url, &body)
            }
        }
    }

    fn mail(&self, target: &str, message: &Message) -> Result<(), NotTaken> {
        let relay = self.ways.mail.as_ref();
        let relay = relay.ok_or_else(|| NotTaken::of("the pool sends no mail".to_owned(), ""))?;
        let unsendable =
            |error: String| NotTaken::of("this mail cannot be written".to_owned(), &error);
        let to: Address = target
            .parse()
            .map_err(|error| unsendable(format!("{error}")))?;
        let mail = lettre::Message::builder()
            .from(relay.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&message.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(message.text.clone())
            .map_err(|error| unsendable(error.to_string()))?;
        let transport = SmtpTransport::from_url(&relay.url.0)
            .map_err(|error| unsendable(error.to_string()))?
            .timeout(Some(ALERT_CALL))
            .build();
        transport.send(&mail).map(|_| ()).map_err(|error| {
            let status = error.status().map(|code| code.to_string());
            NotTaken {
                for_miner: match status {
                    Some(code) => format!("refused: {code}"),
                    None => "the mail server does not answer".to_owned(),
                },
                for_operator: with_causes(&error),
            }
        })
    }

    fn post(&self, url: &str, body: &Value) -> Result<(), NotTaken> {
        let answered = (self.agent.post(url))
            .header("Content-Type", "application/json")
            .send(body.to_string());
        match answered {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status().as_u16();
                Err(NotTaken::of(format!("refused: {status}"), ""))
            }
            Err(error) => Err(NotTaken::of("no answer".to_owned(), &error.to_string())),
        }
    }
}

impl NotTaken {
    fn of(for_miner: String, why: &str) -> Self {
        let for_operator = match why {
            "" => for_miner.clone(),
            why => format!("{for_miner}: {why}"),
        };
        Self {
            for_miner,
            for_operator,
        }
    }
}

/// An error and what it came from: the outer text alone says that there was an error.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::alert_ways::NtfyServer;

    #[test]
    fn contact_is_a_mailbox_a_chat_or_a_topic_and_no_url() {
        let server = |host: &str| NtfyServer {
            host: host.to_owned(),
            url: format!("https://{host}"),
        };
        let sender = Sender::new(AlertWays {
            ntfy: vec![server("ntfy.sh")],
            ..AlertWays::default()
        });
        let target = |way, text| sender.target(way, text).ok();
        let taken = |text: &str| Some(text.to_owned());
        assert_eq!(target(Way::Mail, " a@example.com "), taken("a@example.com"));
        for wrong in ["", "a", "a@b\r\nBcc: c@d", "A <a@example.com>", "a@b,c@d"] {
            assert_eq!(target(Way::Mail, wrong), None, "{wrong:?}");
        }
        assert_eq!(target(Way::Telegram, "-100123"), taken("-100123"));
        for wrong in ["", "-", "@channel", "12 3", "99999999999999999999"] {
            assert_eq!(target(Way::Telegram, wrong), None, "{wrong:?}");
        }
        assert_eq!(target(Way::Ntfy, "topic_1"), taken("ntfy.sh/topic_1"));
        assert_eq!(target(Way::Ntfy, "ntfy.sh/t"), taken("ntfy.sh/t"));
        for wrong in [
            "",
            "127.0.0.1/t",
            "http://10.0.0.1/t",
            "ntfy.sh/a/b",
            "a?b",
            "ntfy.sh/",
        ] {
            assert_eq!(target(Way::Ntfy, wrong), None, "{wrong:?}");
        }
    }
}
