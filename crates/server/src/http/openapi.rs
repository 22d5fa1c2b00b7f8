//! OpenAPI description of the API, made from the code of the handlers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::OpenApi;

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
    Json(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_have_the_names_that_programs_know() {
        let mut document = Document::openapi();
        document.merge(admin::AdminDocument::openapi());
        let schemas = document.components.expect("there are some").schemas;
        let names: Vec<&str> = schemas.keys().map(String::as_str).collect();
        let known = "Account AccountInFull AccountKey AccountSort Accounts AddressBody Alarms AlertSettings \
                     AwaitedServer BanBody BanRow Block BlockStateAsked Blocks ChallengeBody CodeBody \
                     Condition Contact ContactBody Credit Credits Deployment DividedBlock DrainBody Draining Estimate \
                     ExtraNode Finding Findings Happening Health HeldBlock History Job JobOutput KeyBody \
                     KeyMay Language LinkBody ListFormat Listener Listeners Log LogLine Luck MadeKey MadeLink \
                     MinerSignIn NewAddressBody NewAddressByPassword NewAddressBySignature NewPasswordBody \
                     NextAddress OperatorSignIn Order OwnAlerts OwnBlocks OwnerSignIn PasswordBody Payee \
                     Payment PayoutPlan PayoutReport Payouts Places PlannedBlock PlannedPayouts Point Pool \
                     PoolMoney PoolPayouts Problem Race RaisedAlarm Range RecordedChange RecordedChanges Records Refusal Refusals Round \
                     RoundAccount Server Servers Session Shares SignInBody SignInChallenge Split SplitLine \
                     Sums Terms ThresholdBody User UserBody Users Waiting Wallet Worker WorkerSort Workers";
        assert_eq!(names.join(" "), known);
    }
}
