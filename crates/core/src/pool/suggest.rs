//! Difficulty requests by method: `mining.suggest_difficulty`, `mining.suggest_target`, and
//! `mining.configure`.

use crate::pool::dispatch::{Reply, RequestContext};
use crate::session::Session;
use crate::session::difficulty::RequestedDifficulty;
use crate::units::{Difficulty, Hash, Target};
use crate::wire::message::{Reject, Request};

impl RequestContext<'_> {
    /// Handles `mining.suggest_difficulty [d]`.
    pub(crate) fn suggest_difficulty(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Reply, Reject> {
        let difficulty = request.number()?;
        self.suggest(session, Difficulty::new(difficulty))
    }

    /// Handles `mining.suggest_target [64 hex digits]`.
    pub(crate) fn suggest_target(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Reply, Reject> {
        let params = request.texts()?;
        let target = params
            .first()
            .and_then(|text| Hash::from_hex(text.as_deref()?));
        let difficulty = target.filter(|target| *target != Hash::ZERO);
        self.suggest(
            session,
            difficulty.map(|target| Target(target.0).difficulty()),
        )
    }

    fn suggest(
        &mut self,
        session: &mut Session,
        difficulty: Option<Difficulty>,
    ) -> Result<Reply, Reject> {
        let difficulty = difficulty.ok_or(Reject::InvalidParams)?;
        session
            .difficulty_policy
            .request(RequestedDifficulty::Start(difficulty), self.now.ms);
        self.send_requested_difficulty(session);
        Ok(Reply::True)
    }

    /// Handles `mining.configure [[extension, …], {…}]`. Only `minimum-difficulty` is supported; all
    /// others are answered with `false`.
    pub(crate) fn configure(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
    ) -> Result<Reply, Reject> {
        let (extensions, values) = request.extensions()?;
        let mut answers = serde_json::Map::new();
        for extension in extensions {
            let least = values
                .get("minimum-difficulty.value")
                .and_then(serde_json::Value::as_f64)
                .and_then(Difficulty::new)
                .filter(|_| extension == "minimum-difficulty");
            if let Some(least) = least {
                session.difficulty_policy.at_least(least);
                self.send_requested_difficulty(session);
            }
            answers.insert(extension, least.is_some().into());
        }
        Ok(Reply::Json(serde_json::Value::from(answers).to_string()))
    }
}
