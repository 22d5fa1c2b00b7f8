//! Codes that confirm contacts. They are kept in memory: a restart has them asked for again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::contacts::table::Language;
use crate::contacts::way::Way;
use crate::limits::{
    CODE_MINUTES, CODE_TRIES, CODES_OF_ACCOUNT_MAX, CODES_OF_TARGET_MAX, CODES_WITHIN,
    CODES_WITHIN_MAX,
};

/// Codes that were sent, and to whom.
#[derive(Default)]
pub(super) struct Codes {
    /// By account and way.
    waiting: HashMap<(String, Way), SentCode>,
    /// Those that were sent within [`CODES_WITHIN`].
    sent: Vec<Sent>,
}

struct Sent {
    account: String,
    way: Way,
    target: String,
    at: Instant,
}

struct SentCode {
    code: String,
    target: String,
    language: Language,
    sent_at: Instant,
    tries: u32,
}

/// Why there is no code, or it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodeRefused {
    /// The pool sends no more of them now.
    #[error("too many codes were sent within the hour, try again later")]
    TooMany,
    /// None was asked for, or it was asked for too long ago.
    #[error("there is no code to confirm: have one sent")]
    None,
    /// It is another.
    #[error("not the code that was sent")]
    Wrong,
    /// It was another too often.
    #[error("not the code that was sent, and too often: have another one sent")]
    WrongTooOften,
}

impl CodeRefused {
    /// True if there were too many: another request may do later.
    pub(crate) fn is_limit(self) -> bool {
        matches!(self, Self::TooMany | Self::WrongTooOften)
    }
}

impl Codes {
    /// Makes a code to be sent to that contact. Strangers cannot have many sent to one.
    pub(super) fn make(
        &mut self,
        account: &str,
        (way, target): (Way, &str),
        language: Language,
        now: Instant,
    ) -> Result<String, CodeRefused> {
        let since = |at: Instant| now.saturating_duration_since(at);
        self.sent.retain(|sent| since(sent.at) < CODES_WITHIN);
        let sent = |is_one: &dyn Fn(&&Sent) -> bool| self.sent.iter().filter(is_one).count();
        // Mailboxes differ by case only on paper.
        let is_same = |one: &&Sent| one.way == way && one.target.eq_ignore_ascii_case(target);
        if self.sent.len() >= CODES_WITHIN_MAX
            || sent(&is_same) >= CODES_OF_TARGET_MAX
            || sent(&|one| one.account == account) >= CODES_OF_ACCOUNT_MAX
        {
            return Err(CodeRefused::TooMany);
        }
        self.waiting.retain(|_, code| since(code.sent_at) < LIFE);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| CodeRefused::TooMany)?;
        let code = format!("{:08}", u64::from_le_bytes(random) % 100_000_000);
        self.sent.push(Sent {
            account: account.to_owned(),
            way,
            target: target.to_owned(),
            at: now,
        });
        let new = SentCode {
            code: code.clone(),
            target: target.to_owned(),
            language,
            sent_at: now,
            tries: 0,
        };
        self.waiting.insert((account.to_owned(), way), new);
        Ok(code)
    }

    /// Forgets the newest code of an account, which was not taken where it was sent.
    pub(super) fn was_not_sent(&mut self, account: &str, way: Way) {
        self.waiting.remove(&(account.to_owned(), way));
        let is_it = |one: &Sent| one.account == account && one.way == way;
        if let Some(place) = self.sent.iter().rposition(is_it) {
            self.sent.remove(place);
        }
    }

    /// Takes a code; returns what it confirms, and in which language. It serves once.
    pub(super) fn take(
        &mut self,
        account: &str,
        way: Way,
        code: &str,
        now: Instant,
    ) -> Result<(String, Language), CodeRefused> {
        let key = (account.to_owned(), way);
        let sent = self.waiting.get_mut(&key).ok_or(CodeRefused::None)?;
        if now.saturating_duration_since(sent.sent_at) >= LIFE {
            return Err(CodeRefused::None);
        }
        let is_it = code
            .chars()
            .filter(|c| !c.is_whitespace())
            .eq(sent.code.chars());
        if !is_it {
            sent.tries += 1;
            if sent.tries < CODE_TRIES {
                return Err(CodeRefused::Wrong);
            }
            self.waiting.remove(&key);
            return Err(CodeRefused::WrongTooOften);
        }
        let sent = self.waiting.remove(&key).expect("it is there");
        Ok((sent.target, sent.language))
    }
}

/// Time for which a code confirms.
const LIFE: Duration = Duration::from_secs(CODE_MINUTES * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: (Way, &str) = (Way::Mail, "a@example.com");

    #[test]
    fn code_serves_its_account_once_for_a_while() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        let code = codes
            .make("alice", MAIL, Language::Zh, now)
            .expect("a code");
        assert!(code.len() == 8 && code.bytes().all(|b| b.is_ascii_digit()));
        let mut take = |account, way, at| codes.take(account, way, &code, at);
        assert_eq!(take("bob", Way::Mail, now), Err(CodeRefused::None));
        assert_eq!(take("alice", Way::Ntfy, now), Err(CodeRefused::None));
        assert_eq!(take("alice", Way::Mail, now + LIFE), Err(CodeRefused::None));
        let expected = ("a@example.com".to_owned(), Language::Zh);
        let spaced = format!(" {} {}\n", &code[..4], &code[4..]);
        assert_eq!(codes.take("alice", Way::Mail, &spaced, now), Ok(expected));
        let mut take = |account, way, at| codes.take(account, way, &code, at);
        assert_eq!(take("alice", Way::Mail, now), Err(CodeRefused::None));
    }

    #[test]
    fn code_is_not_guessed() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        let code = codes
            .make("alice", MAIL, Language::En, now)
            .expect("a code");
        for _ in 1..CODE_TRIES {
            assert_eq!(
                codes.take("alice", Way::Mail, "x", now),
                Err(CodeRefused::Wrong)
            );
        }
        let last = codes.take("alice", Way::Mail, "x", now);
        assert_eq!(last, Err(CodeRefused::WrongTooOften));
        assert_eq!(
            codes.take("alice", Way::Mail, &code, now),
            Err(CodeRefused::None)
        );
    }

    #[test]
    fn account_has_few_codes_sent_and_those_that_were_not_taken_do_not_count() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        for number in 0..CODES_OF_ACCOUNT_MAX {
            let target = number.to_string();
            let made = codes.make("alice", (Way::Mail, &target), Language::En, now);
            assert!(made.is_ok(), "{number}");
            if number == 0 {
                codes.was_not_sent("alice", Way::Mail);
                let none = codes.take("alice", Way::Mail, "", now);
                assert_eq!(none, Err(CodeRefused::None));
            }
        }
        let mut make = |to| {
            codes
                .make("alice", (Way::Ntfy, to), Language::En, now)
                .is_ok()
        };
        assert!(make("a") && !make("b"));
    }

    #[test]
    fn nobody_is_sent_many_codes() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        let mut make = |account: &str, target: &str, at| {
            codes
                .make(account, (Way::Mail, target), Language::En, at)
                .is_ok()
        };
        for number in 0..CODES_OF_TARGET_MAX {
            assert!(make(&number.to_string(), "a@example.com", now));
        }
        assert!(!make("another", "a@example.com", now), "to one");
        assert!(
            !make("another", "A@EXAMPLE.com", now),
            "to one, by another spelling"
        );
        for number in CODES_OF_TARGET_MAX..CODES_WITHIN_MAX {
            assert!(make(&number.to_string(), &number.to_string(), now));
        }
        assert!(!make("another", "b@example.com", now), "to all");
        assert!(make("another", "a@example.com", now + CODES_WITHIN));
    }
}
