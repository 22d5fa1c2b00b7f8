//! Checks of messages that somebody signed with the key of an address. The node's own code makes them, so that whatever
//! its wallets sign is understood. It takes the node's thread for a moment: there is one at a time, and few a second.

use std::sync::{Arc, Weak};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::limits::{SIGNATURE_CHECK, SIGNATURE_PAUSE, SIGNATURE_TURN};
use crate::node::{Node, SignedMessage};

/// The checks of one server.
pub(crate) struct SignatureChecks {
    node: Weak<dyn Node>,
    /// Time before which the node is asked nothing more. Whoever asks it holds this; a client that goes meanwhile makes
    /// room no sooner.
    next: Turn<Instant>,
    last: Mutex<LastCheck>,
}

/// The check that the node was asked for last, and who waits for it.
#[derive(Default)]
struct LastCheck {
    id: u64,
    waiting: Option<oneshot::Sender<bool>>,
}

impl SignatureChecks {
    /// Those of that node.
    pub(crate) fn new(node: &Arc<dyn Node>) -> Self {
        Self {
            node: Arc::downgrade(node),
            next: Turn::new(Instant::now()),
            last: Mutex::default(),
        }
    }

    /// True if the signature is the address's, of this message.
    ///
    /// # Errors
    /// When there is no turn in time, or the node does not answer.
    pub(crate) async fn check(&self, message: SignedMessage) -> anyhow::Result<bool> {
        let turn = timeout(SIGNATURE_TURN, self.next.lock()).await;
        let mut next = turn.context("too many sign-ins, try again")?;
        sleep_until(*next).await;
        let node = self.node.upgrade().context("the server is stopping")?;
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut last = self.last.lock();
            last.id += 1;
            last.waiting = Some(answer);
            last.id
        };
        node.verify_message(id, message);
        *next = Instant::now() + SIGNATURE_PAUSE;
        drop(node);
        let told = timeout(SIGNATURE_CHECK, answered).await;
        Ok(told.context("the node does not answer")??)
    }

    /// Takes the node's answer.
    pub(crate) fn answered(&self, id: u64, is_valid: bool) {
        let mut last = self.last.lock();
        if last.id == id
            && let Some(waiting) = last.waiting.take()
        {
            // It may wait no longer.
            let _ = waiting.send(is_valid);
        }
    }
}

#[cfg(test)]
mod tests {
    use hstratum_core::event::Level;

    use super::*;
    use crate::node::{BlockQuery, Offer};

    /// A node that notes when it is asked, and does not answer.
    #[derive(Default)]
    struct Asked(Mutex<Vec<Instant>>);

    impl Node for Asked {
        fn offer(&self, _: Offer) {}

        fn locate(&self, _: Vec<BlockQuery>) {}

        fn log(&self, _: Level, _: &str) {}

        fn verify_message(&self, _: u64, _: SignedMessage) {
            self.0.lock().push(Instant::now());
        }
    }

    /// A client that is gone as soon as the node is asked makes room for the next one no sooner.
    #[test]
    fn node_is_asked_now_and_then_whoever_leaves() {
        let asked = Arc::new(Asked::default());
        let node: Arc<dyn Node> = asked.clone();
        let checks = SignatureChecks::new(&node);
        let message = SignedMessage {
            address: String::new(),
            signature: String::new(),
            text: String::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().expect("a runtime");
        runtime.block_on(async {
            while asked.0.lock().len() < 4 {
                let client = checks.check(message.clone());
                let gone = SIGNATURE_PAUSE / 50;
                assert!(timeout(gone, client).await.is_err(), "no answer comes");
            }
        });
        let times = asked.0.lock();
        for pair in times.windows(2) {
            assert!(pair[1] - pair[0] >= SIGNATURE_PAUSE, "{times:?}");
        }
    }
}
