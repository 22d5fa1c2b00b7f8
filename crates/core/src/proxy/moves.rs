//! How a miner comes to a server, and from one to another, without noticing more than a new job.
//!
//! A miner that has lost its server takes the next that lets it in. One that only should be elsewhere
//! keeps its server until the other is ready and the last answers have come.

use serde_json::json;

use crate::event::{CloseHow, Level};
use crate::limits::{
    ASTRAY_MS, LEAVING_MS, LINK_LOGIN_MS, LOGINS_PER_BACKEND, MISMATCHES_MAX, PROXY_LOGIN_MS,
    RETRY_MS,
};
use crate::proxy::Role;
use crate::proxy::answers::{Which, which_of};
use crate::proxy::desk::{Desk, OWN_ID, subscribe_line};
use crate::proxy::event::{Action, NoBackend, Place, Purpose};
use crate::proxy::link::{Link, Own, Stage};
use crate::proxy::miner::{Miner, Request};
use crate::units::ConnId;

impl Desk<'_> {
    /// Looks for a server for a miner that has none and is on its way to none.
    pub(crate) fn seek(&mut self, miner: &mut Miner) {
        if miner.next.is_some() || miner.queued.is_some() || miner.is_closing() {
            return;
        }
        self.shared.unsettled.insert(miner.conn);
        miner.retry_at_ms = None;
        let session = miner.session.expect("it was dealt with the first line");
        let (ring, backends) = (&self.shared.ring, &self.shared.backends);
        let untried = |place: Place| miner.tried & 1 << place == 0;
        let best = ring.home(session, |place| backends[place].is_open() && untried(place));
        let any = || {
            ring.home(session, |place| {
                backends[place].is_alive() && untried(place)
            })
        };
        match best.or_else(any) {
            Some(place) => self.go_to(miner, place),
            None if self.is_hopeless() => self.close_at_once(miner),
            None => {
                // Spread, so that not all come back in the same moment.
                miner.tried = 0;
                miner.retry_at_ms =
                    Some(self.now.ms + RETRY_MS / 2 + u64::from(session) % RETRY_MS);
            }
        }
    }

    fn is_hopeless(&self) -> bool {
        self.shared.config.no_backend == NoBackend::Close
            && self.shared.is_started
            && !self
                .shared
                .backends
                .iter()
                .any(|backend| backend.is_alive())
    }

    /// Begins a login at a server, or stands in the queue for it.
    pub(crate) fn go_to(&mut self, miner: &mut Miner, place: Place) {
        self.shared.unsettled.insert(miner.conn);
        let backend = &mut self.shared.backends[place];
        if backend.logins >= LOGINS_PER_BACKEND {
            backend.queue.push_back(miner.conn);
            miner.queued = Some(place);
            return;
        }
        backend.logins += 1;
        miner.queued = None;
        miner.next = Some(Link::new(place, self.now.ms));
        let purpose = Purpose::Miner(miner.conn, place);
        self.out.push(Action::Dial(purpose, Some(miner.address)));
    }

    /// The answer to a dialing.
    pub(crate) fn dialed(&mut self, miner: &mut Miner, place: Place, dialed: Option<ConnId>) {
        let waits = |link: &&mut Link| link.place == place && link.conn.is_none();
        match (miner.next.as_mut().filter(waits), dialed) {
            (Some(link), Some(conn)) => {
                link.conn = Some(conn);
                self.shared.roles.set(conn, Role::Link(miner.conn));
            }
            (Some(_), None) => self.fail_next(miner),
            (None, Some(conn)) => self.out.push(Action::Close(conn, CloseHow::Reset)),
            (None, None) => {}
        }
    }

    /// The connection to a server is there: what the last server knew is said to this one.
    pub(crate) fn opened(&mut self, miner: &mut Miner) {
        let mut lines = Vec::new();
        let mut own = Vec::new();
        let mut ask = |what: Own, method: &str, params: &str| {
            own.push(what);
            let line = format!(r#"{{"id":{OWN_ID},"method":"{method}","params":{params}}}"#);
            lines.push(line);
        };
        let is_admitting = self.shared.config.secret.is_some() && !miner.users.is_empty();
        if is_admitting {
            ask(Own::Hello, "hstratum.hello", "[]");
        }
        if let Some(configured) = &miner.configured {
            ask(Own::Other, "mining.configure", configured);
        }
        if let Some(difficulty) = &miner.difficulty {
            let params = format!("[{difficulty}]");
            ask(Own::Other, "mining.suggest_difficulty", &params);
        }
        if !is_admitting {
            for user in &miner.users {
                let password = user.password.as_deref().unwrap_or_default();
                let params = json!([user.name, with_options(password, &user.options)]);
                ask(Own::User, "mining.authorize", &params.to_string());
            }
        }
        if miner.told.is_some() {
            let session = miner.session.expect("it was dealt with the first line");
            own.push(Own::Subscribe);
            lines.push(subscribe_line(OWN_ID, &miner.agent, session));
        }
        let Some(link) = &mut miner.next else { return };
        link.stage = Stage::LoggingIn;
        link.due_ms = self.now.ms + LINK_LOGIN_MS;
        link.own = own.into();
        let conn = link.conn.expect("it is open");
        for line in lines {
            self.send_line(conn, &line);
        }
        self.look_whether_ready(miner);
    }

    fn send_line(&mut self, conn: ConnId, line: &str) {
        self.out.send(conn, |out| {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        });
    }

    /// Has a server let in those whom another has let in.
    pub(crate) fn admit_all(&mut self, miner: &mut Miner, challenge: &[u8]) {
        let secret = self.shared.config.secret.as_ref();
        let (Some(secret), Some(link)) = (secret, &mut miner.next) else {
            return;
        };
        let conn = link.conn.expect("it has answered");
        let mut lines = Vec::new();
        for user in &miner.users {
            let proof = secret.prove(challenge, &user.name, &user.options);
            let params = json!([user.name, user.options, proof]);
            link.own.push_back(Own::User);
            lines.push(format!(
                r#"{{"id":{OWN_ID},"method":"hstratum.admit","params":{params}}}"#
            ));
        }
        for line in lines {
            self.send_line(conn, &line);
        }
    }

    /// The login is done.
    pub(crate) fn is_ready(&mut self, miner: &mut Miner) {
        let Some(link) = &mut miner.next else { return };
        link.stage = Stage::Ready;
        self.shared.backends[link.place].logins -= 1;
        if miner.current.is_some() && miner.is_owed() {
            miner.leaving_until_ms = Some(self.now.ms + LEAVING_MS);
        } else {
            self.adopt(miner);
        }
    }

    /// The miner has waited for the answers of the server that it leaves, and they have come.
    pub(crate) fn look_whether_left(&mut self, miner: &mut Miner) {
        if miner.leaving_until_ms.is_some() && !miner.is_owed() {
            self.adopt(miner);
        }
    }

    /// The server that is ready becomes the miner's.
    fn adopt(&mut self, miner: &mut Miner) {
        let Some(link) = miner.next.take() else {
            return;
        };
        let is_first = miner.current.is_none() && !miner.has_job;
        match miner.current.take() {
            Some(old) => {
                self.end_link(&old);
                self.shared.backends[old.place].miners -= 1;
                self.shared.counts.moved_alive += 1;
                self.out.push(Action::Moved(0));
            }
            None if !is_first => {
                let since_ms = miner.adrift_since_ms.unwrap_or(self.now.ms);
                self.shared.counts.moved_lost += 1;
                self.out.push(Action::Moved(self.now.ms - since_ms));
            }
            None => {}
        }
        self.shared.backends[link.place].miners += 1;
        miner.tried = 0;
        miner.mismatches = 0;
        miner.adrift_since_ms = None;
        miner.leaving_until_ms = None;
        miner.settled_at_ms = self.now.ms;
        self.tell_what_was_kept(miner, link);
        self.ask_again(miner);
        if miner.is_mining() {
            self.shared.unsettled.remove(&miner.conn);
        }
        if self.home(miner).is_some() {
            // Where it belongs has changed on the way.
            self.look_again(miner);
        }
        self.receive(miner, &[]);
    }

    fn tell_what_was_kept(&mut self, miner: &mut Miner, mut link: Link) {
        if let (Some(told), Some(given)) = (miner.told, link.extra_nonce1)
            && told != given
        {
            let line = format!(
                r#"{{"id":null,"method":"mining.set_extranonce","params":["{given:08x}",4]}}"#
            );
            self.send_line(miner.conn, &line);
            self.shared.counts.extra_nonces_changed += 1;
            self.take_extra_nonce(miner, given);
        }
        // A difficulty never travels alone.
        if let Some(job) = link.staged_job.take() {
            if let Some(line) = link.staged_difficulty.take() {
                self.out
                    .send(miner.conn, |out| out.extend_from_slice(&line));
            }
            self.out.send(miner.conn, |out| out.extend_from_slice(&job));
            miner.has_job = true;
        }
        miner.current = Some(link);
    }

    /// What no server has answered is asked at this one.
    fn ask_again(&mut self, miner: &mut Miner) {
        let conn = miner.current.as_ref().and_then(|link| link.conn);
        let conn = conn.expect("it has logged in");
        for request in &mut miner.requests {
            if let Request::Asked { kind, line, .. } = request
                && let Some(asked) = line
            {
                self.out.send(conn, |out| {
                    out.extend_from_slice(asked);
                    out.push(b'\n');
                });
                if !kind.may_be_repeated() {
                    *line = None;
                }
            }
        }
    }

    /// The miner's extranonce1 is now this.
    pub(crate) fn take_extra_nonce(&mut self, miner: &mut Miner, extra_nonce1: u32) {
        miner.told = Some(extra_nonce1);
        if let Some(session) = miner.session
            && session != extra_nonce1
        {
            self.shared.ids.free(session);
            self.shared.ids.take(extra_nonce1);
            miner.session = Some(extra_nonce1);
        }
    }

    /// A connection to a server is gone.
    pub(crate) fn link_closed(&mut self, miner: &mut Miner, conn: ConnId) {
        match which_of(miner, Some(conn)) {
            Some(Which::Current) => {
                if miner.count_loss(self.now) {
                    self.reset(miner, "it loses every server");
                } else {
                    self.lose_current(miner, self.now.ms);
                }
            }
            Some(Which::Next) => {
                let place = miner.next.as_ref().map(|link| (link.place, link.stage));
                self.fail_next(miner);
                if let Some((place, Stage::Dialing)) = place {
                    let why = "it refuses connections";
                    self.shared.fail(place, why, self.now, self.out);
                }
            }
            None => {}
        }
    }

    /// The miner's server is lost since then: what it owed is answered, and another is looked for.
    pub(crate) fn lose_current(&mut self, miner: &mut Miner, since_ms: u64) {
        let Some(link) = miner.current.take() else {
            return;
        };
        self.end_link(&link);
        self.shared.backends[link.place].miners -= 1;
        self.shared.counts.refused_in_flight += miner.give_up_requests();
        miner.release(self.out);
        miner.adrift_since_ms = Some(since_ms.min(self.now.ms));
        miner.leaving_until_ms = None;
        miner.tried |= 1 << link.place;
        self.shared.unsettled.insert(miner.conn);
        if miner
            .next
            .as_ref()
            .is_some_and(|next| next.stage == Stage::Ready)
        {
            self.adopt(miner);
        } else {
            self.seek(miner);
            self.receive(miner, &[]);
        }
    }

    /// The server that the miner was to go to does not have it.
    pub(crate) fn fail_next(&mut self, miner: &mut Miner) {
        let Some(link) = miner.next.take() else {
            return;
        };
        self.end_link(&link);
        if link.stage != Stage::Ready {
            self.shared.backends[link.place].logins -= 1;
        }
        miner.tried |= 1 << link.place;
        miner.leaving_until_ms = None;
        if miner.current.is_none() {
            self.seek(miner);
        } else {
            self.settle(miner);
        }
    }

    /// A server refuses a user that another let in.
    pub(crate) fn refused_user(&mut self, miner: &mut Miner) {
        if let Some(link) = &miner.next {
            let name = &self.shared.backends[link.place].name;
            let text = format!("server {name} refuses a user whom another let in");
            self.out.say(Level::Debug, text);
        }
        self.fail_next(miner);
    }

    /// Somebody else has the miner's extranonce1 there. Another server may still have it to give.
    pub(crate) fn cannot_keep_extra_nonce(&mut self, miner: &mut Miner) {
        miner.mismatches += 1;
        if miner.mismatches >= MISMATCHES_MAX && miner.current.is_none() {
            self.reset(miner, "its extranonce1 is in use everywhere");
        } else {
            self.fail_next(miner);
        }
    }

    /// A miner gives up what it is on its way to.
    pub(crate) fn stay(&mut self, miner: &mut Miner) {
        miner.queued = None;
        miner.leaving_until_ms = None;
        if let Some(link) = miner.next.take() {
            self.end_link(&link);
            if link.stage != Stage::Ready {
                self.shared.backends[link.place].logins -= 1;
            }
        }
    }

    /// A miner of another process goes on here.
    pub(crate) fn resume(&mut self, miner: &mut Miner, link: Option<ConnId>) {
        if miner.current.is_some() {
            return self.receive(miner, &[]);
        }
        if let Some(link) = link {
            // Its server is none of ours.
            self.out.push(Action::Close(link, CloseHow::Reset));
        }
        self.shared.counts.refused_in_flight += miner.give_up_requests();
        miner.release(self.out);
        if miner.session.is_some() {
            miner.adrift_since_ms = Some(self.now.ms);
            self.seek(miner);
        }
    }

    /// A move that ended where it began.
    fn settle(&mut self, miner: &mut Miner) {
        miner.tried = 0;
        self.look_again(miner);
        if miner.is_mining() {
            self.shared.unsettled.remove(&miner.conn);
        }
        self.receive(miner, &[]);
    }

    /// Ends a link; nobody hears of it any more.
    fn end_link(&mut self, link: &Link) {
        if let Some(conn) = link.conn
            && self.shared.roles.clear(conn)
        {
            self.out.push(Action::Close(conn, CloseHow::Reset));
        }
    }

    /// Ends all that a miner has at servers.
    pub(crate) fn drop_links(&mut self, miner: &mut Miner) {
        if let Some(link) = miner.current.take() {
            self.end_link(&link);
            self.shared.backends[link.place].miners -= 1;
        }
        self.stay(miner);
        self.shared.unsettled.remove(&miner.conn);
    }

    /// Takes a miner to where it belongs, if it is not there and nothing is in the way.
    pub(crate) fn move_home(&mut self, miner: &mut Miner) {
        if miner.next.is_some() || miner.queued.is_some() || miner.is_closing() {
            return;
        }
        if let Some(home) = self.home(miner) {
            self.go_to(miner, home);
        }
    }

    /// Where a miner belongs, if it has a server and that is another one.
    fn home(&self, miner: &Miner) -> Option<Place> {
        let (session, current) = (miner.session?, miner.current.as_ref()?);
        let (ring, backends) = (&self.shared.ring, &self.shared.backends);
        let home = ring.home(session, |place| backends[place].is_open());
        home.filter(|&home| home != current.place)
    }

    fn look_again(&mut self, miner: &mut Miner) {
        if !miner.is_astray {
            miner.is_astray = true;
            let at_ms = self.now.ms + ASTRAY_MS;
            self.shared.astray.push_back((at_ms, miner.conn));
        }
    }

    /// Looks at what a miner has waited for too long.
    pub(crate) fn look_at_time(&mut self, miner: &mut Miner) {
        let now_ms = self.now.ms;
        let is_over = |due_ms: Option<u64>| due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if !miner.is_mining() && miner.connected_at_ms + PROXY_LOGIN_MS <= now_ms {
            return self.close_at_once(miner);
        }
        if miner
            .next
            .as_ref()
            .is_some_and(|link| link.stage != Stage::Ready && link.due_ms <= now_ms)
        {
            self.fail_next(miner);
        }
        if is_over(miner.leaving_until_ms) {
            // What it owes it owes for ever.
            let now_ms = self.now.ms;
            self.lose_current(miner, now_ms);
        }
        if is_over(miner.retry_at_ms) {
            self.seek(miner);
        }
        let patience_ms = match self.shared.config.no_backend {
            NoBackend::Wait(ms) => ms,
            NoBackend::Close => LINK_LOGIN_MS,
        };
        let adrift_until = miner.adrift_since_ms.map(|since| since + patience_ms);
        if miner.current.is_none() && is_over(adrift_until) {
            return self.reset(miner, "no server takes it");
        }
        if miner.is_mining() && miner.current.is_some() && miner.next.is_none() {
            self.shared.unsettled.remove(&miner.conn);
        }
    }

    fn reset(&mut self, miner: &mut Miner, why: &str) {
        self.shared.counts.reset += 1;
        let text = format!("reset {}: {why}", miner.address);
        self.out.say(Level::Debug, text);
        self.close_at_once(miner);
    }

    fn close_at_once(&mut self, miner: &mut Miner) {
        self.drop_links(miner);
        self.shared.closing.push((miner.conn, CloseHow::Reset));
    }
}

/// A password as the miner would have written it.
fn with_options(password: &str, options: &str) -> String {
    match options {
        "" => password.to_owned(),
        options => format!("{password},{options}"),
    }
}
