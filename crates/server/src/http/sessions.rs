//! Sessions of whoever has signed in to the dashboard. They are kept in memory, so that a restart ends them, and as
//! digests, so that nothing kept here opens one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hstratum_core::units::{Hash, hex};
use parking_lot::Mutex;

use crate::limits::{
    SESSION_AGE_MAX, SESSION_IDLE_MAX, SESSIONS_MAX, SESSIONS_OF_ACCOUNT_MAX,
    SESSIONS_OF_OPERATOR_MAX, SIGN_OUT_KEPT,
};

/// All sessions, by the digest of their cookie.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<OpenSessions>);

#[derive(Default)]
struct OpenSessions {
    all: HashMap<Hash, Session>,
    /// When accounts were signed out, of the last [`SIGN_OUT_KEPT`].
    signed_out: HashMap<Box<str>, Instant>,
}

/// In whose name a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Operator,
    /// This account's.
    Miner(Arc<str>),
}

/// What a session says of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedIn {
    pub role: Role,
    /// When the session began.
    pub begun: Instant,
    /// What a request that changes something must bear beside the cookie: a page of another site knows neither,
    /// and sends only the cookie.
    pub change_token: String,
}

struct Session {
    signed_in: SignedIn,
    used: Instant,
}

/// What a new session is opened with.
pub(crate) struct NewSession {
    /// The cookie's value.
    pub cookie: String,
    pub signed_in: SignedIn,
}

impl Sessions {
    /// Begins a session. At a limit the one of the same name, or of all miners, that was used longest ago ends.
    /// `None` if the account was signed out since its password was `asked` for: that may be another by now.
    pub(crate) fn begin(
        &self,
        role: Role,
        asked: Instant,
        now: Instant,
    ) -> Result<Option<NewSession>, getrandom::Error> {
        let new = NewSession {
            cookie: random()?,
            signed_in: SignedIn {
                role,
                begun: now,
                change_token: random()?,
            },
        };
        let mut sessions = self.0.lock();
        if let Role::Miner(account) = &new.signed_in.role
            && (sessions.signed_out.get(&**account)).is_some_and(|at| *at >= asked)
        {
            return Ok(None);
        }
        sessions.make_room(&new.signed_in.role, now);
        let session = Session {
            signed_in: new.signed_in.clone(),
            used: now,
        };
        sessions.all.insert(digest(&new.cookie), session);
        Ok(Some(new))
    }

    /// What an open session says; `None` if it is not open. It stays open from now on.
    pub(crate) fn look(&self, cookie: &str, now: Instant) -> Option<SignedIn> {
        let mut sessions = self.0.lock();
        let session = sessions.all.get_mut(&digest(cookie))?;
        if !session.is_open(now) {
            return None;
        }
        session.used = now;
        Some(session.signed_in.clone())
    }

    /// True if a session that was looked at before is still open.
    pub(crate) fn is_open(&self, signed_in: &SignedIn, now: Instant) -> bool {
        let sessions = self.0.lock();
        let mut all = sessions.all.values();
        all.any(|session| session.signed_in == *signed_in && session.is_open(now))
    }

    /// Ends a session, if it is there.
    pub(crate) fn end(&self, cookie: &str) {
        self.0.lock().all.remove(&digest(cookie));
    }

    /// Ends all sessions of an account but the one with this token.
    pub(crate) fn end_others(&self, account: &str, change_token: &str) {
        self.0.lock().all.retain(|_, session| {
            !session.is_of(account) || session.signed_in.change_token == change_token
        });
    }

    /// Ends all sessions of an account.
    pub(crate) fn sign_out(&self, account: &str, now: Instant) {
        let mut sessions = self.0.lock();
        let is_kept = |at: &Instant| now.saturating_duration_since(*at) < SIGN_OUT_KEPT;
        sessions.signed_out.retain(|_, at| is_kept(at));
        sessions.signed_out.insert(account.into(), now);
        (sessions.all).retain(|_, session| !session.is_of(account));
    }
}

impl OpenSessions {
    /// Ends what stands in the way of one more session of that role.
    fn make_room(&mut self, role: &Role, now: Instant) {
        self.all.retain(|_, session| session.is_open(now));
        let own_max = match role {
            Role::Operator => SESSIONS_OF_OPERATOR_MAX,
            Role::Miner(_) => SESSIONS_OF_ACCOUNT_MAX,
        };
        let own = |session: &Session| session.signed_in.role == *role;
        if self.all.values().filter(|session| own(session)).count() >= own_max {
            self.end_oldest(own);
        }
        if self.all.len() >= SESSIONS_MAX {
            self.end_oldest(|session| session.signed_in.role != Role::Operator);
        }
    }

    /// Ends the one of these that was used longest ago.
    fn end_oldest(&mut self, is_one: impl Fn(&Session) -> bool) {
        let these = self.all.iter().filter(|(_, session)| is_one(session));
        let oldest = these.min_by_key(|(_, session)| session.used);
        if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
            self.all.remove(&oldest);
        }
    }
}

impl Session {
    fn is_of(&self, account: &str) -> bool {
        matches!(&self.signed_in.role, Role::Miner(its) if **its == *account)
    }

    fn is_open(&self, now: Instant) -> bool {
        let since = |at: Instant| -> Duration { now.saturating_duration_since(at) };
        since(self.used) < SESSION_IDLE_MAX && since(self.signed_in.begun) < SESSION_AGE_MAX
    }
}

/// 256 random bits, as hex digits.
pub(super) fn random() -> Result<String, getrandom::Error> {
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

    fn begin(sessions: &Sessions, role: Role, now: Instant) -> NewSession {
        let begun = sessions.begin(role, now, now);
        begun.expect("random bytes").expect("nobody signed out")
    }

    fn miner(account: &str) -> Role {
        Role::Miner(account.into())
    }

    #[test]
    fn session_ends_by_itself_and_by_order() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let new = begin(&sessions, Role::Operator, start);
        let is_open = |at| sessions.look(&new.cookie, at).is_some();
        // Used now and then it outlasts its idle time, but not its age.
        let mut now = start;
        while now - start < SESSION_AGE_MAX {
            assert!(is_open(now));
            now += SESSION_IDLE_MAX / 2;
        }
        assert!(!is_open(now));

        let new = begin(&sessions, Role::Operator, start);
        let is_open = |at| sessions.look(&new.cookie, at).is_some();
        assert!(!is_open(start + SESSION_IDLE_MAX));
        assert!(is_open(start));
        let token = &new.signed_in.change_token;
        assert!(sessions.look(token, start).is_none());
        sessions.end(&new.cookie);
        assert!(!is_open(start));
    }

    #[test]
    fn at_the_limit_of_a_name_its_one_that_was_used_longest_ago_gives_way() {
        for (role, most) in [
            (Role::Operator, SESSIONS_OF_OPERATOR_MAX),
            (miner("alice"), SESSIONS_OF_ACCOUNT_MAX),
        ] {
            let (sessions, start) = (Sessions::default(), Instant::now());
            let at = |number: usize| start + Duration::from_millis(number as u64);
            let other = begin(&sessions, miner("other"), start);
            let all: Vec<NewSession> = (0..=most)
                .map(|number| begin(&sessions, role.clone(), at(number)))
                .collect();
            let is_open = |new: &NewSession| sessions.look(&new.cookie, at(most)).is_some();
            assert!(!is_open(&all[0]));
            assert!(all[1..].iter().all(is_open));
            assert!(is_open(&other));
        }
    }

    #[test]
    fn many_miners_end_no_session_of_the_operator() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let operator = begin(&sessions, Role::Operator, start);
        let later = start + Duration::from_secs(1);
        for number in 1..SESSIONS_MAX {
            let session = Session {
                signed_in: SignedIn {
                    role: miner(&number.to_string()),
                    begun: later,
                    change_token: String::new(),
                },
                used: later,
            };
            let digest = digest(&number.to_string());
            sessions.0.lock().all.insert(digest, session);
        }
        for number in 0..10 {
            begin(&sessions, miner(&format!("late{number}")), later);
        }
        assert_eq!(sessions.0.lock().all.len(), SESSIONS_MAX);
        assert!(sessions.look(&operator.cookie, later).is_some());
    }

    #[test]
    fn another_password_ends_the_sessions_of_its_account_and_those_about_to_begin() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let alice = begin(&sessions, miner("alice"), now);
        let bob = begin(&sessions, miner("bob"), now);
        let changed = now + Duration::from_secs(1);
        sessions.sign_out("alice", changed);
        assert!(sessions.look(&alice.cookie, changed).is_none());
        assert!(sessions.look(&bob.cookie, changed).is_some());
        let begin = |account, asked| {
            let begun = sessions.begin(miner(account), asked, changed);
            begun.expect("random bytes").is_some()
        };
        assert!(!begin("alice", now), "the old password was right");
        assert!(begin("bob", now));
        assert!(begin("alice", changed + Duration::from_secs(1)));
        // Nothing is kept of what nobody waits for any more.
        sessions.sign_out("bob", changed + SIGN_OUT_KEPT);
        assert_eq!(sessions.0.lock().signed_out.len(), 1);
    }
}
