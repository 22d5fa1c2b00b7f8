//! Notifications of changes in the shared ledger (PostgreSQL's LISTEN and NOTIFY). Every thread also polls
//! each second, so a lost notification only means a little delay.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;

use crate::limits::{LISTEN_AGAIN, SHARED_LOOK};
use crate::sql::SqlError;
use crate::sql::url::PostgresUrl;

/// Channel for changes of users, bans and drains.
const PEOPLE: &str = "hstratum_people";
/// Channel for new blocks.
const BLOCKS: &str = "hstratum_blocks";

/// Kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    People,
    Block,
}

/// Notifies all servers. A failure does not matter, since they poll.
pub(crate) fn tell(client: &mut Client, news: News) {
    let channel = match news {
        News::People => PEOPLE,
        News::Block => BLOCKS,
    };
    let _ = client.batch_execute(&format!("NOTIFY {channel}"));
}

/// Listens until the server stops. A ledger that does not support notifications is asked again later.
pub(crate) fn run(address: &PostgresUrl, is_stopping: &AtomicBool, hear: impl Fn(News)) {
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
    address: &PostgresUrl,
    is_stopping: &AtomicBool,
    hear: &impl Fn(News),
) -> Result<(), SqlError> {
    let mut client = address.connect()?;
    client.batch_execute(&format!("LISTEN {PEOPLE}; LISTEN {BLOCKS}"))?;
    // A change may have come before.
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
