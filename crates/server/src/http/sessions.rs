//! Sessions of whoever has signed in. They are kept in memory, so that a restart ends them, and as digests, so that
//! nothing kept here opens one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hstratum_core::units::{Hash, hex};
use parking_lot::Mutex;

use crate::limits::{SESSION_AGE_MAX, SESSION_IDLE_MAX, SESSIONS_MAX};

/// All sessions, by the digest of their cookie.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Hash, Session>>);

struct Session {
    /// What a request that changes something must bear beside the cookie: a page of another site knows neither,
    /// and sends only the cookie.
    change_token: String,
    begun: Instant,
    used: Instant,
}

/// What a new session is opened with.
pub(crate) struct NewSession {
    /// The cookie's value.
    pub cookie: String,
    /// See [`Sessions::change_token`].
    pub change_token: String,
}

impl Sessions {
    /// Begins a session. At the limit the one that was used longest ago ends.
    pub(crate) fn begin(&self, now: Instant) -> Result<NewSession, getrandom::Error> {
        let new = NewSession {
            cookie: random()?,
            change_token: random()?,
        };
        let session = Session {
            change_token: new.change_token.clone(),
            begun: now,
            used: now,
        };
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.is_open(now));
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(digest(&new.cookie), session);
        Ok(new)
    }

    /// The token that changes of an open session must bear; `None` if it is not open. It stays open from now on.
    pub(crate) fn change_token(&self, cookie: &str, now: Instant) -> Option<String> {
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&digest(cookie))?;
        if !session.is_open(now) {
            return None;
        }
        session.used = now;
        Some(session.change_token.clone())
    }

    /// Ends a session, if it is there.
    pub(crate) fn end(&self, cookie: &str) {
        self.0.lock().remove(&digest(cookie));
    }
}

impl Session {
    fn is_open(&self, now: Instant) -> bool {
        let since = |at: Instant| -> Duration { now.saturating_duration_since(at) };
        since(self.used) < SESSION_IDLE_MAX && since(self.begun) < SESSION_AGE_MAX
    }
}

fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

fn digest(cookie: &str) -> Hash {
    Hash::blake2b(&[cookie.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ends_by_itself_and_by_order() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let new = sessions.begin(begin).expect("random bytes");
        let is_open = |at| sessions.change_token(&new.cookie, at).is_some();
        // Used now and then it outlasts its idle time, but not its age.
        let mut now = begin;
        while now - begin < SESSION_AGE_MAX {
            assert!(is_open(now));
            now += SESSION_IDLE_MAX / 2;
        }
        assert!(!is_open(now));

        let new = sessions.begin(begin).expect("random bytes");
        let is_open = |at| sessions.change_token(&new.cookie, at).is_some();
        assert!(!is_open(begin + SESSION_IDLE_MAX));
        assert!(is_open(begin));
        assert!(sessions.change_token(&new.change_token, begin).is_none());
        sessions.end(&new.cookie);
        assert!(!is_open(begin));
    }

    #[test]
    fn at_the_limit_the_one_that_was_used_longest_ago_gives_way() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let at = |number: usize| begin + Duration::from_millis(number as u64);
        let all: Vec<NewSession> = (0..=SESSIONS_MAX)
            .map(|number| sessions.begin(at(number)).expect("random bytes"))
            .collect();
        let later = at(SESSIONS_MAX);
        let is_open = |new: &NewSession| sessions.change_token(&new.cookie, later).is_some();
        assert!(!is_open(&all[0]));
        assert!(all[1..].iter().all(is_open));
    }
}
