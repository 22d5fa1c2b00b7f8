//! Checks of messages that somebody signed with the key of an address. The node's own code makes them, so that whatever
//! its wallets sign is understood. It takes the node's thread for a moment: there is one at a time, and few a second.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::limits::{SIGNATURE_CHECK, SIGNATURE_PAUSE, SIGNATURE_TURN};
use crate::node::{Node, SignedMessage};

/// The checks of one server.
pub(crate) struct SignatureChecks {
    node: Weak<dyn Node>,
    open: Mutex<OpenChecks>,
    turn: Semaphore,
}

#[derive(Default)]
struct OpenChecks {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<bool>>,
}

impl SignatureChecks {
    /// Those of that node.
    pub(crate) fn new(node: &Arc<dyn Node>) -> Self {
        Self {
            node: Arc::downgrade(node),
            open: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }

    /// True if the signature is the address's, of this message.
    ///
    /// # Errors
    /// When there is no turn in time, or the node does not answer.
    pub(crate) async fn check(&self, message: SignedMessage) -> anyhow::Result<bool> {
        let turn = timeout(SIGNATURE_TURN, self.turn.acquire()).await;
        let _turn = turn.context("too many sign-ins, try again")??;
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut open = self.open.lock();
            open.last += 1;
            let id = open.last;
            open.waiting.insert(id, answer);
            id
        };
        let Some(node) = self.node.upgrade() else {
            bail!("the server is stopping");
        };
        node.verify_message(id, message);
        drop(node);
        let told = timeout(SIGNATURE_CHECK, answered).await;
        self.open.lock().waiting.remove(&id);
        let is_valid = told.context("the node does not answer")??;
        // The next one waits for so long, too.
        sleep(SIGNATURE_PAUSE).await;
        Ok(is_valid)
    }

    /// Takes the node's answer.
    pub(crate) fn answered(&self, id: u64, is_valid: bool) {
        if let Some(waiting) = self.open.lock().waiting.remove(&id) {
            // It may wait no longer.
            let _ = waiting.send(is_valid);
        }
    }
}
