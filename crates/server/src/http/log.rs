//! The last lines of the log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hstratum_core::event::Level;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ApiError, ApiResult, Problem, QueryParams};
use super::site::Site;
use crate::limits::LOG_LINES_MAX;
use crate::log_lines::LogLine;

/// Lines of an answer unless another number is asked for.
const LINES: usize = 100;

/// A line of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
struct ApiLogLine {
    /// Unix seconds.
    time: u64,
    /// `info`, `warning` or `error`.
    level: &'static str,
    /// Its first 512 bytes. Untrusted text.
    text: String,
}

/// The last lines of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = Log)]
pub(super) struct ApiLog {
    /// Newest last.
    lines: Vec<ApiLogLine>,
}

/// Which lines are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogAsked {
    #[param(minimum = 1, maximum = 500, default = 100)]
    count: Option<usize>,
    /// Those of this level and above only.
    level: Option<LogLevel>,
}

/// A level of the log.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogLevel {
    #[default]
    Info,
    Warning,
    Error,
}

impl LogLevel {
    /// True if lines of that level are among those of this one and above.
    fn has(self, level: Level) -> bool {
        match self {
            Self::Info => true,
            Self::Warning => matches!(level, Level::Warning | Level::Error),
            Self::Error => level == Level::Error,
        }
    }
}

impl From<LogLine> for ApiLogLine {
    fn from(line: LogLine) -> Self {
        Self {
            time: line.at,
            level: line.level.name(),
            text: line.text,
        }
    }
}

/// What this server has logged last since it started, but for what only debugging needs.
#[utoipa::path(get, path = "/api/v1/admin/log", tag = "admin", params(LogAsked), responses(
    (status = 200, body = ApiLog), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn log(
    State(site): State<Arc<Site>>,
    QueryParams(asked): QueryParams<LogAsked>,
) -> ApiResult<ApiLog> {
    let count = asked.count.unwrap_or(LINES);
    if !(1..=LOG_LINES_MAX).contains(&count) {
        return Err(ApiError::wrong(format!(
            "count: expected 1 to {LOG_LINES_MAX}, found {count}"
        )));
    }
    let least = asked.level.unwrap_or_default();
    let lines = site
        .console()
        .log_lines
        .last(count, |level| least.has(level));
    let lines = lines.into_iter();
    Ok(Json(ApiLog {
        lines: lines.map(ApiLogLine::from).collect(),
    }))
}
