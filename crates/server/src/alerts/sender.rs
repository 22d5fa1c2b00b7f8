//! Sends messages: to the mail relay, the Telegram bot and the servers of ntfy that the operator has named, and nowhere
//! else. A miner names a mailbox, a chat or a topic, never an address of a network.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use hstratum_core::units::hex;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{Address, SmtpTransport, Transport};
use serde_json::{Value, json};
use ureq::Agent;

use super::texts::Message;
use crate::config::alert_ways::{AlertWays, MailRelay, NtfyServer};
use crate::contacts::way::Way;
use crate::limits::{ALERT_CALL, CONTACT_BYTES_MAX, MAIL_CALL, MAILS_AT_ONCE};

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotTaken {
    /// For whoever is not told: not more than a number.
    pub(super) for_miner: String,
    /// For the operator.
    pub(super) for_operator: String,
    /// There was no answer: the receiver takes nothing from anybody now.
    pub(super) is_silence: bool,
}

/// Sender of messages.
pub(super) struct Sender {
    ways: AlertWays,
    agent: Agent,
    /// Threads that bring a mail to the relay: those that were given up go on until the relay ends them.
    mails: Arc<AtomicUsize>,
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
            mails: Arc::default(),
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
            Way::Mail => mailbox(text).ok_or_else(|| "expected a mail address".to_owned()),
            Way::Telegram => match text.parse::<i64>() {
                Ok(chat) if chat != 0 => Ok(chat.to_string()),
                _ => Err("expected a chat's number".to_owned()),
            },
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
        let gone = || NotTaken::refused("the pool has this way no more".to_owned());
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
                let allowed = |server: &&NtfyServer| server.host == host;
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
        let relay = relay.ok_or_else(|| NotTaken::refused("the pool sends no mail".to_owned()))?;
        let written = written(relay, target, message).map_err(|error| NotTaken {
            for_miner: "this mail cannot be written".to_owned(),
            for_operator: format!("a mail cannot be written: {error:#}"),
            is_silence: false,
        })?;
        self.bring(relay, written)
    }

    /// Brings a mail to the relay, on a thread of its own: each step has a deadline there, and a relay that is slow enough
    /// never reaches one.
    fn bring(&self, relay: &MailRelay, mail: lettre::Message) -> Result<(), NotTaken> {
        let silent = |why: &str| NotTaken::silence("the mail server does not answer", why);
        if self.mails.load(Ordering::Relaxed) >= MAILS_AT_ONCE {
            return Err(silent("earlier mails hang"));
        }
        let transport = SmtpTransport::from_url(&relay.url.0)
            .map_err(|error| silent(&error.to_string()))?
            .timeout(Some(ALERT_CALL))
            .build();
        let (done, answered) = channel();
        let mails = self.mails.clone();
        mails.fetch_add(1, Ordering::Relaxed);
        let work = move || {
            // Whoever waited may be gone.
            drop(done.send(transport.send(&mail).map(drop)));
            mails.fetch_sub(1, Ordering::Relaxed);
        };
        let thread = thread::Builder::new().name("hstratum-smtp".to_owned());
        if let Err(error) = thread.spawn(work) {
            self.mails.fetch_sub(1, Ordering::Relaxed);
            return Err(silent(&error.to_string()));
        }
        match answered.recv_timeout(MAIL_CALL) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.status() {
                Some(code) => NotTaken {
                    for_miner: format!("refused: {code}"),
                    for_operator: with_causes(&error),
                    is_silence: false,
                },
                None => silent(&with_causes(&error)),
            }),
            Err(_) => Err(silent("it takes too long")),
        }
    }

    fn post(&self, url: &str, body: &Value) -> Result<(), NotTaken> {
        let answered = (self.agent.post(url))
            .header("Content-Type", "application/json")
            .send(body.to_string());
        match answered {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status().as_u16();
                Err(NotTaken::refused(format!("refused: {status}")))
            }
            Err(error) => Err(NotTaken::silence("no answer", &error.to_string())),
        }
    }
}

impl NotTaken {
    fn refused(why: String) -> Self {
        Self {
            for_operator: why.clone(),
            for_miner: why,
            is_silence: false,
        }
    }

    pub(super) fn silence(for_miner: &str, why: &str) -> Self {
        Self {
            for_miner: for_miner.to_owned(),
            for_operator: format!("{for_miner}: {why}"),
            is_silence: true,
        }
    }
}

/// A mailbox that a miner may name: of another machine than the relay's, and with nothing in it that a relay or a program
/// behind it may take for more than a name.
fn mailbox(text: &str) -> Option<String> {
    let address: Address = text.parse().ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-='~".contains(c);
    let domain = address.domain();
    let is_domain = domain.contains('.') && !domain.starts_with('[');
    let is_number = domain.parse::<IpAddr>().is_ok();
    let is_mailbox = address.user().chars().all(is_plain) && is_domain && !is_number;
    is_mailbox.then(|| format!("{}@{}", address.user(), domain.to_lowercase()))
}

/// The mail that says it.
fn written(relay: &MailRelay, target: &str, message: &Message) -> anyhow::Result<lettre::Message> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    let id = format!("<{}@{}>", hex(&id), relay.from.email.domain());
    let mail = lettre::Message::builder()
        .from(relay.from.clone())
        .to(Mailbox::new(None, target.parse()?))
        .subject(&message.subject)
        .message_id(Some(id))
        .header(ContentType::TEXT_PLAIN)
        .body(message.text.clone())?;
    Ok(mail)
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
        assert_eq!(
            target(Way::Mail, "A.b+c@ExAmple.com"),
            taken("A.b+c@example.com")
        );
        for wrong in [
            "",
            "a",
            "a@b.c\r\nBcc: c@d.e",
            "A <a@example.com>",
            "a@b.c,c@d.e",
            "root@localhost",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "|cmd@example.com",
            "a%b.c@example.com",
            "\"a b\"@example.com",
        ] {
            assert_eq!(target(Way::Mail, wrong), None, "{wrong:?}");
        }
        assert_eq!(target(Way::Telegram, "-00100123"), taken("-100123"));
        for wrong in [
            "",
            "-",
            "0",
            "-0",
            "@channel",
            "12 3",
            "99999999999999999999",
        ] {
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
