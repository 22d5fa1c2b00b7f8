//! Handles each line of a server: answers go to the miner in the order of its requests; jobs and
//! difficulties are passed on and remembered.

use std::mem::Discriminant;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::accounts::ADMIN;
use crate::accounts::refused_logins::RefusalReason;
use crate::conn::LineServer;
use crate::limits::{
    LOW_SHARE_GRACE_MS, PROXY_PARAMS_BYTES_MAX, SCORE_BAD_ADMIN, SCORE_BAD_PASSWORD,
    SCORE_DUPLICATE, SCORE_LOW_SHARE, SCORE_MALFORMED, SERVER_LINE_BYTES_MAX,
};
use crate::proxy::link::{BackendLink, LinkStage, LoginRequest};
use crate::proxy::miner::{MinerRequest, ProxiedMiner, RequestKind};
use crate::proxy::miner_lines::{MinerContext, OWN_ID};
use crate::proxy::server_lines::LinkFault::Nonsense;
use crate::units::{parse_hex_u32, unhex};
use crate::wire::line::Flow;
use crate::wire::message::Reject;

/// A line of a server, parsed as far as the proxy needs.
#[derive(Deserialize)]
pub(crate) struct ServerLine<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> ServerLine<'a> {
    /// Parses a line; `None` if it is not one that a server may send.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Code and text of a refusal; `None` if it is none.
    pub(crate) fn refusal(&self) -> Option<(i64, String)> {
        let error = serde_json::from_str(self.error?.get()).unwrap_or(Value::Null);
        let code = error[0].as_i64().unwrap_or(0);
        Some((code, error[1].as_str().unwrap_or_default().to_owned()))
    }

    fn is_true(&self) -> bool {
        self.result.is_some_and(|result| result.get() == "true")
    }

    fn extra_nonce1(&self) -> Option<u32> {
        let result: Value = serde_json::from_str(self.result?.get()).ok()?;
        parse_hex_u32(result[1].as_str()?)
    }

    /// The first parameter as JSON text.
    fn first_param(&self) -> Option<&'a str> {
        let params: Vec<&RawValue> = serde_json::from_str(self.params?.get()).ok()?;
        params.first().map(|first| first.get())
    }
}

/// The reason why a miner leaves its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkFault {
    /// The server violates the protocol.
    Nonsense,
    /// The server takes no miners now.
    NotNow,
}

/// The connection that a line came over: that of the miner's server, or that of the one it moves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkSlot {
    Current,
    Next,
}

impl MinerContext<'_> {
    /// Handles bytes of a server that are for a miner.
    ///
    /// # Errors
    /// The reason why the link must be given up.
    pub(crate) fn hear(
        &mut self,
        miner: &mut ProxiedMiner,
        slot: LinkSlot,
        bytes: &[u8],
    ) -> Result<(), LinkFault> {
        let Some(link) = link_mut(miner, slot) else {
            return Ok(());
        };
        let conn = link.conn;
        self.shared.backends[link.place].heard(self.now);
        let mut lines = std::mem::take(&mut link.lines);
        if !bytes.contains(&b'\n') {
            // A long line comes in many pieces: it is parsed once, when it is whole.
            lines.hold(bytes);
            let is_fine = lines.len() <= SERVER_LINE_BYTES_MAX;
            link.lines = lines;
            return is_fine.then_some(()).ok_or(Nonsense);
        }
        let mut heard = Ok(());
        let read = lines.read_up_to(SERVER_LINE_BYTES_MAX, bytes, |line| {
            // The line before may have made the next link the current one, or closed it.
            let slot = slot_of_link(miner, conn);
            heard = match slot {
                Some(slot) => self.hear_line(miner, slot, line),
                None => return Flow::Stop,
            };
            match heard {
                Ok(()) => Flow::Continue,
                Err(_) => Flow::Stop,
            }
        });
        if let Some(slot) = slot_of_link(miner, conn)
            && let Some(link) = link_mut(miner, slot)
        {
            link.lines = lines;
        }
        heard.and(read.map_err(|_| Nonsense))
    }

    fn hear_line(
        &mut self,
        miner: &mut ProxiedMiner,
        slot: LinkSlot,
        line: &[u8],
    ) -> Result<(), LinkFault> {
        let said = ServerLine::parse(line).ok_or(Nonsense)?;
        match said.method {
            Some("mining.notify") => self.hear_job(miner, slot, &said, line),
            Some("mining.set_difficulty") => self.hear_difficulty(miner, slot, &said, line),
            Some("mining.set_extranonce") => self.hear_extra_nonce(miner, slot, &said),
            // Other methods are of no use to any miner.
            Some(_) => Ok(()),
            None if slot == LinkSlot::Next => self.hear_own(miner, &said),
            None => self.hear_answer(miner, &said, line),
        }
    }

    fn hear_job(
        &mut self,
        miner: &mut ProxiedMiner,
        slot: LinkSlot,
        said: &ServerLine<'_>,
        line: &[u8],
    ) -> Result<(), LinkFault> {
        let id = said.first_param().ok_or(Nonsense)?;
        let id: String = serde_json::from_str(id).map_err(|_| Nonsense)?;
        let link = link_mut(miner, slot).ok_or(Nonsense)?;
        link.push_job(&id);
        match slot {
            LinkSlot::Current => {
                miner.has_job = true;
                self.pass_on(miner, line);
            }
            LinkSlot::Next => {
                link.staged_job = Some(whole(line));
                self.check_login_done(miner);
            }
        }
        Ok(())
    }

    fn hear_difficulty(
        &mut self,
        miner: &mut ProxiedMiner,
        slot: LinkSlot,
        said: &ServerLine<'_>,
        line: &[u8],
    ) -> Result<(), LinkFault> {
        let difficulty = said.first_param().ok_or(Nonsense)?;
        match slot {
            LinkSlot::Current => {
                if difficulty.len() > PROXY_PARAMS_BYTES_MAX {
                    return Err(Nonsense);
                }
                if miner.difficulty.as_deref() != Some(difficulty) {
                    miner.difficulty = Some(difficulty.into());
                }
                self.pass_on(miner, line);
            }
            LinkSlot::Next => {
                let link = link_mut(miner, slot).ok_or(Nonsense)?;
                link.staged_difficulty = Some(whole(line));
            }
        }
        Ok(())
    }

    /// Handles a new extranonce1 from the server, which a proxy behind this one sends when it moves its
    /// miner. It applies from the next job on.
    fn hear_extra_nonce(
        &mut self,
        miner: &mut ProxiedMiner,
        slot: LinkSlot,
        said: &ServerLine<'_>,
    ) -> Result<(), LinkFault> {
        let given = said.first_param().ok_or(Nonsense)?;
        let given: String = serde_json::from_str(given).map_err(|_| Nonsense)?;
        let given = parse_hex_u32(&given).ok_or(Nonsense)?;
        let link = link_mut(miner, slot).ok_or(Nonsense)?;
        link.extra_nonce1 = Some(given);
        // During a move only the last extranonce1 is announced, at its end.
        if miner.told.is_none_or(|told| told == given) {
            return Ok(());
        }
        match slot {
            LinkSlot::Next if !miner.takes_extra_nonces => self.cannot_keep_extra_nonce(miner),
            LinkSlot::Next => {}
            // The miner would mine on with the old extranonce1.
            LinkSlot::Current if !miner.takes_extra_nonces => return Err(LinkFault::NotNow),
            LinkSlot::Current => self.tell_extra_nonce(miner, given),
        }
        Ok(())
    }

    fn pass_on(&mut self, miner: &ProxiedMiner, line: &[u8]) {
        self.out.send(miner.conn.id, |out| {
            out.extend_from_slice(line);
            out.push(b'\n');
        });
    }

    /// Handles an answer: it belongs to the miner's oldest unanswered request.
    fn hear_answer(
        &mut self,
        miner: &mut ProxiedMiner,
        said: &ServerLine<'_>,
        line: &[u8],
    ) -> Result<(), LinkFault> {
        let Some(MinerRequest::Asked { id, kind, .. }) = miner.first_owed() else {
            return Err(Nonsense);
        };
        let expected = id.as_deref().unwrap_or(OWN_ID);
        let answered = said.id.map_or("null", RawValue::get);
        let refusal = said.refusal();
        // A server that could not parse a line refuses it without its id; the line is the miner's.
        let is_unread = answered == "null" && refusal.is_some();
        if answered != expected && !is_unread {
            return Err(Nonsense);
        }
        let wants_answer = id.is_some();
        let with_id = wants_answer && answered != expected;
        let with_id = with_id.then(|| answer_with(expected, said));
        let line = with_id.as_deref().unwrap_or(line);
        let kind = kind.clone();
        if kind == RequestKind::Subscribe && refusal.is_some() && !is_unread {
            // Known clients would wait for ever after a refused subscribe, so it is repeated at another
            // server.
            return Err(LinkFault::NotNow);
        }
        self.learn(miner, kind, said, refusal.as_ref())?;
        let is_first = matches!(miner.requests.front(), Some(MinerRequest::Asked { .. }));
        if is_first {
            miner.requests.pop_front();
            if wants_answer {
                self.pass_on(miner, line);
            }
            miner.release(self.out);
        } else if let Some(request) = miner.first_owed() {
            let answer = if wants_answer {
                whole(line)
            } else {
                Box::default()
            };
            *request = MinerRequest::Answered(answer);
        }
        Ok(())
    }

    /// Remembers from an answer all that another server would have to be told, and counts refusals
    /// against the miner.
    fn learn(
        &mut self,
        miner: &mut ProxiedMiner,
        kind: RequestKind,
        said: &ServerLine<'_>,
        refusal: Option<&(i64, String)>,
    ) -> Result<(), LinkFault> {
        let asked = std::mem::discriminant(&kind);
        match (kind, refusal) {
            (RequestKind::Submit, None) if said.is_true() => {
                miner.conn.has_credit = true;
                self.shared.counts.accepted += 1;
            }
            (RequestKind::Submit, _) => self.shared.counts.refused += 1,
            (RequestKind::Subscribe, None) => {
                let extra_nonce1 = said.extra_nonce1().ok_or(Nonsense)?;
                if let Some(link) = &mut miner.current {
                    link.extra_nonce1 = Some(extra_nonce1);
                }
                self.take_extra_nonce(miner, extra_nonce1);
            }
            (RequestKind::Authorize(user), None) if said.is_true() => miner.add_user(user),
            (RequestKind::Authorize(user), _) => {
                self.note_refused(miner, &user.name, RefusalReason::Server);
            }
            (RequestKind::AuthorizeAdmin, Some(_)) => {
                self.note_refused(miner, ADMIN, RefusalReason::Server);
            }
            (RequestKind::Configure(params), None) => miner.configured = Some(params),
            (RequestKind::ExtraNonces, None) if said.is_true() => miner.takes_extra_nonces = true,
            _ => {}
        }
        if let Some((code, text)) = refusal
            && let Some(points) = self.points(miner, &asked, *code, text)
        {
            self.blame(miner, points);
        }
        Ok(())
    }

    /// The score that the server itself adds for this refusal, so that the proxy can drop the miner
    /// before the server drops its connection.
    fn points(
        &self,
        miner: &ProxiedMiner,
        asked: &Discriminant<RequestKind>,
        code: i64,
        text: &str,
    ) -> Option<u32> {
        let is = |kind: &RequestKind| *asked == std::mem::discriminant(kind);
        let is_settling = self.now.ms - miner.settled_at_ms < LOW_SHARE_GRACE_MS;
        match code {
            23 if is(&RequestKind::Submit) => (!is_settling).then_some(SCORE_LOW_SHARE),
            22 if is(&RequestKind::Submit) => Some(SCORE_DUPLICATE),
            24 => (!is(&RequestKind::Submit)).then_some(SCORE_BAD_PASSWORD),
            0 if text == Reject::InvalidPassword.text() => Some(SCORE_BAD_ADMIN),
            0 if text == Reject::InvalidParams.text() => Some(SCORE_MALFORMED),
            _ => None,
        }
    }

    /// Handles an answer to one of the proxy's own requests during a login.
    fn hear_own(
        &mut self,
        miner: &mut ProxiedMiner,
        said: &ServerLine<'_>,
    ) -> Result<(), LinkFault> {
        let link = miner.next.as_mut().ok_or(Nonsense)?;
        let own = link.login_requests.pop_front().ok_or(Nonsense)?;
        if said.id.map(RawValue::get) != Some(OWN_ID) {
            return Err(Nonsense);
        }
        match own {
            LoginRequest::Hello => {
                let hello = Hello::parse(said);
                let challenge = hello.and_then(|hello| unhex(&hello.challenge?));
                match challenge {
                    Some(challenge) => self.admit_all(miner, &challenge),
                    None => {
                        self.fail_next(miner);
                        return Ok(());
                    }
                }
            }
            LoginRequest::Subscribe => {
                let Some(extra_nonce1) = said.extra_nonce1() else {
                    self.fail_next(miner);
                    return Ok(());
                };
                link.extra_nonce1 = Some(extra_nonce1);
                if miner.told != Some(extra_nonce1) && !miner.takes_extra_nonces {
                    self.cannot_keep_extra_nonce(miner);
                    return Ok(());
                }
            }
            LoginRequest::User if !said.is_true() => {
                self.refused_user(miner);
                return Ok(());
            }
            LoginRequest::User | LoginRequest::Other => {}
        }
        self.check_login_done(miner);
        Ok(())
    }

    /// Completes the login once every request is answered and, if the miner is mining, a job has come.
    pub(crate) fn check_login_done(&mut self, miner: &mut ProxiedMiner) {
        let is_mining = miner.is_mining();
        if let Some(link) = &miner.next
            && link.stage == LinkStage::LoggingIn
            && link.login_requests.is_empty()
            && (!is_mining || link.staged_job.is_some())
        {
            self.finish_login(miner);
        }
    }
}

/// The result of `hstratum.hello`.
#[derive(Deserialize)]
pub(crate) struct Hello {
    /// The challenge for proofs, if the server shares a secret with proxies.
    pub(crate) challenge: Option<String>,
    /// The height of its job; `None` if it has none.
    pub(crate) height: Option<u32>,
    /// True if its miners should move to other servers.
    #[serde(default)]
    pub(crate) leaving: bool,
}

impl Hello {
    pub(crate) fn parse(said: &ServerLine<'_>) -> Option<Self> {
        serde_json::from_str(said.result?.get()).ok()
    }
}

pub(crate) fn link_mut(miner: &mut ProxiedMiner, slot: LinkSlot) -> Option<&mut BackendLink> {
    match slot {
        LinkSlot::Current => miner.current.as_mut(),
        LinkSlot::Next => miner.next.as_mut(),
    }
}

/// The link that a connection belongs to.
pub(crate) fn slot_of_link(
    miner: &ProxiedMiner,
    conn: Option<crate::units::ConnId>,
) -> Option<LinkSlot> {
    let is = |link: &Option<BackendLink>| link.as_ref().is_some_and(|link| link.conn == conn);
    if is(&miner.current) {
        Some(LinkSlot::Current)
    } else if is(&miner.next) {
        Some(LinkSlot::Next)
    } else {
        None
    }
}

/// A refusal, rewritten with the id of its request.
fn answer_with(id: &str, said: &ServerLine<'_>) -> Vec<u8> {
    let error = said.error.map_or("null", RawValue::get);
    format!(r#"{{"id":{id},"result":null,"error":{error}}}"#).into_bytes()
}

fn whole(line: &[u8]) -> Box<[u8]> {
    let mut whole = Vec::with_capacity(line.len() + 1);
    whole.extend_from_slice(line);
    whole.push(b'\n');
    whole.into()
}
