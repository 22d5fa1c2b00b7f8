//! Findings of the doctor about the own server.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{ApiResult, NoParams, Problem};
use super::site::Site;
use crate::doctor::{CheckedPart, Finding};

/// A finding of the doctor.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
struct ApiFinding {
    /// `configuration`, `files`, `machine`, `node`, `dashboard` or `miners`.
    part: &'static str,
    /// `ok`, `warning` or `problem`.
    severity: &'static str,
    /// Untrusted text.
    text: String,
    /// What to do; none where nothing is wrong.
    advice: Option<String>,
}

/// Findings about this server.
#[derive(Serialize, ToSchema)]
#[schema(as = Findings)]
pub(super) struct ApiFindings {
    /// The gravest first, then in the order of their parts.
    findings: Vec<ApiFinding>,
    /// Seconds since the server was examined.
    age_s: f64,
}

impl From<&Finding> for ApiFinding {
    fn from(finding: &Finding) -> Self {
        Self {
            part: finding.part.name(),
            severity: finding.severity.name(),
            text: finding.text.clone(),
            advice: finding.advice.clone(),
        }
    }
}

/// What `hstratum doctor` finds about this server, of the last minute. It is looked at from inside: the ledger's file is
/// left to `hstratum ledger check`, and the port is tried from this machine, so that firewalls and proxies are not
/// seen. Nothing is mined.
#[utoipa::path(get, path = "/api/v1/admin/doctor", tag = "admin", responses(
    (status = 200, body = ApiFindings), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn doctor(State(site): State<Arc<Site>>, _: NoParams) -> ApiResult<ApiFindings> {
    let (found, age) = site.console().examination.findings().await?;
    let place = |part| CheckedPart::ALL.iter().position(|one| *one == part);
    let mut sorted: Vec<&Finding> = found.iter().collect();
    sorted.sort_by_key(|finding| (Reverse(finding.severity), place(finding.part)));
    Ok(Json(ApiFindings {
        findings: sorted.into_iter().map(ApiFinding::from).collect(),
        age_s: age.as_secs_f64(),
    }))
}
