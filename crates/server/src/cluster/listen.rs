//! Hears at once that something is new in the shared ledger, where it can tell (LISTEN and NOTIFY of
//! PostgreSQL). Others look each second anyway: what is not heard comes a little later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;

use super::address::Address;
use crate::limits::{LISTEN_AGAIN, SHARED_LOOK};
use crate::sql::SqlError;

/// Where servers say that users, bans or a drain have changed.
const PEOPLE: &str = "hstratum_people";
/// Where they say that there is a block.
const BLOCKS: &str = "hstratum_blocks";

/// What is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    People,
    Block,
}

/// Tells all servers. It may fail: they look by themselves.
pub(crate) fn tell(client: &mut Client, news: News) {
    let channel = match news {
        News::People => PEOPLE,
        News::Block => BLOCKS,
    };
    let _ = client.batch_execute(&format!("NOTIFY {channel}"));
}

/// Runs until the server stops. One that cannot tell, or will not, is asked again later.
pub(crate) fn run(address: &Address, is_stopping: &AtomicBool, hear: impl Fn(News)) {
    while !is_stopping.load(Ordering::Relaxed) {
        match listen(address, is_stopping, &hear) {
            Err(SqlError::Failed(_)) => {
                let again = Instant::now() + LISTEN_AGAIN;
                while Instant::now() < again && !is_stopping.load(Ordering::Relaxed) {
                    thread::sleep(SHARED_LOOK);
                }
            }
            _ => thread::sleep(SHARED_LOOK),
        }
    }
}

fn listen(
    address: &Address,
    is_stopping: &AtomicBool,
    hear: &impl Fn(News),
) -> Result<(), SqlError> {
    let mut client = address.connect()?;
    client.batch_execute(&format!("LISTEN {PEOPLE}; LISTEN {BLOCKS}"))?;
    // Something may have come before.
    hear(News::People);
    hear(News::Block);
    while !is_stopping.load(Ordering::Relaxed) && !client.is_closed() {
        let mut notifications = client.notifications();
        let next = notifications.timeout_iter(SHARED_LOOK).next()?;
        match next.as_ref().map(postgres::Notification::channel) {
            Some(PEOPLE) => hear(News::People),
            Some(BLOCKS) => hear(News::Block),
            _ => {}
        }
    }
    Ok(())
}
