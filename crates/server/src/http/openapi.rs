//! OpenAPI description of the API, made from the code of the handlers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::OpenApi;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

use super::accounts::{AccountSort, WorkerSort};
use super::answer::SortOrder;
use super::credits::ListFormat;
use super::history::Range;
use super::round::BlockStateAsked;
use super::site::Site;
use super::{
    accounts, admin, credits, event_watch, history, jobs, keys, listeners, me, me_alerts, metrics,
    pages, payouts, pool, refusals, round, servers, sign_in, splits,
};

/// Everything that can be asked.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hstratum",
        description = "A Handshake mining pool. Difficulties and work are doubles, amounts integers \
                       in base units (a millionth of a coin), times Unix seconds. Names are \
                       untrusted text."
    ),
    paths(
        pool::pool,
        listeners::listeners,
        servers::servers,
        history::of_pool,
        round::round,
        round::of_all_time,
        round::blocks,
        splits::newest,
        splits::of_block,
        accounts::accounts,
        accounts::account,
        history::of_account,
        credits::credits,
        accounts::workers,
        payouts::payouts,
        refusals::refusals,
        jobs::job,
        sign_in::who,
        sign_in::sign_in,
        sign_in::sign_out,
        sign_in::challenge,
        me::set_password,
        me::set_threshold,
        me_alerts::alerts,
        me_alerts::set_alerts,
        me_alerts::send_code,
        me_alerts::confirm_contact,
        me_alerts::end_contact,
        me::set_address,
        me::keep_address,
        keys::keys,
        keys::add_key,
        keys::revoke_key,
        keys::links,
        keys::add_link,
        keys::revoke_link,
        event_watch::events,
        document,
        metrics::metrics,
        pool::health,
        pages::code,
    ),
    components(schemas(AccountSort, BlockStateAsked, ListFormat, SortOrder, Range, WorkerSort)),
    tags(
        (name = "pool", description = "The pool as a whole."),
        (name = "miners", description = "Accounts, their machines, what they are paid."),
        (name = "session", description = "Signing in."),
        (name = "me", description = "The account that one has signed in to."),
        (name = "monitoring", description = "For programs that watch."),
    )
)]
pub(crate) struct Document;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "monitoring", responses(
    (status = 200, body = Object)))]
pub(crate) async fn document(State(site): State<Arc<Site>>) -> Json<utoipa::openapi::OpenApi> {
    let mut document = Document::openapi();
    if site.operator.is_some() {
        document.merge(admin::AdminDocument::openapi());
    }
    add_common_answers(&mut document);
    Json(document)
}

/// What each path may answer before its handler is asked, or while it is waited for.
const COMMON_ANSWERS: [(&str, &str); 5] = [
    ("400", "A parameter or the body is malformed."),
    ("401", "The key is none."),
    (
        "403",
        "Asked by a page of another site, or by a key in the clear.",
    ),
    ("421", "Asked by a host name that is not this server's."),
    ("503", "The server has no time for it, or is stopping."),
];

/// Adds those that a path's own answers do not have.
fn add_common_answers(document: &mut utoipa::openapi::OpenApi) {
    let body = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
    for path in document.paths.paths.values_mut() {
        let methods = [
            &mut path.get,
            &mut path.put,
            &mut path.post,
            &mut path.delete,
        ];
        for operation in methods.into_iter().flatten() {
            let answers = &mut operation.responses.responses;
            for (status, description) in COMMON_ANSWERS {
                let answer = ResponseBuilder::new()
                    .description(description)
                    .content("application/json", body().build());
                let answer = RefOr::T(answer.build());
                answers.entry(status.to_owned()).or_insert(answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn schemas_have_the_names_that_programs_know() {
        let mut document = Document::openapi();
        document.merge(admin::AdminDocument::openapi());
        let schemas = document.components.expect("there are some").schemas;
        let names: Vec<&str> = schemas.keys().map(String::as_str).collect();
        let known = "Account AccountInFull AccountKey AccountSort Accounts AddressBody Alarms AlertSettings \
                     AwaitedServer BanBody BanRow BestShare Block BlockStateAsked Blocks ChainSync ChallengeBody CodeBody \
                     Condition Contact ContactBody Credit Credits Deployment DividedBlock DrainBody Draining Estimate \
                     ExtraNode Finding Findings Happening Health HeldBlock History Job JobOutput KeyBody \
                     KeyMay Language LinkBody ListFormat Listener Listeners Log LogLevel LogLine Luck MadeKey MadeLink \
                     MinerSignIn NewAddressBody NewAddressByPassword NewAddressBySignature NewPasswordBody \
                     NextAddress OperatorSignIn Order OwnAlerts OwnBlocks OwnerSignIn PasswordBody Payee \
                     Payment PayoutPlan PayoutReport Payouts Places PlannedBlock PlannedPayouts Point Pool \
                     PoolMoney PoolPayouts Problem Race RaisedAlarm Range RecordedChange RecordedChanges Records Refusal Refusals Round \
                     RoundAccount Server Servers Session Shares SignInBody SignInChallenge Split SplitLine \
                     Sums SyncReport Terms ThresholdBody User UserBody Users Waiting Wallet Worker WorkerSort Workers";
        assert_eq!(names.join(" "), known);
    }

    /// Schemas whose format has no place for their maximum.
    fn contradictions(value: &Value, found: &mut Vec<Value>) {
        let maximum = value["maximum"].as_f64();
        if value["format"] == "int32" && maximum.is_some_and(|most| most > i32::MAX.into()) {
            found.push(value.clone());
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|one| contradictions(one, found)),
            Value::Array(list) => list.iter().for_each(|one| contradictions(one, found)),
            _ => {}
        }
    }

    #[test]
    fn formats_have_place_for_the_greatest_values() {
        let mut document = Document::openapi();
        document.merge(admin::AdminDocument::openapi());
        let document = serde_json::to_value(document).expect("JSON");
        assert!(document.to_string().contains("4294967295"));
        let mut found = Vec::new();
        contradictions(&document, &mut found);
        assert_eq!(found, Vec::<Value>::new());
    }
}
