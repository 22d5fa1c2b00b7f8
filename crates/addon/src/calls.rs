//! Asynchronous calls of the plugin. Each waits on a thread of its own, never on the node's thread or on
//! libuv's, which the node's disk needs; every wait has a deadline. The answer goes to JavaScript through
//! a weak function, so that a call that hangs does not keep the process alive.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use napi::Status;
use napi::bindgen_prelude::FnArgs;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::orders::AnswerObject;

/// Calls of one class that may wait at a time. The next one fails at once.
const WAITING_MAX: usize = 32;

/// The arguments of an answer: the call's number, and its outcome.
pub(crate) type AnswerArgs = FnArgs<(u32, AnswerObject)>;

/// The JavaScript callback for answers: the call's number and the answer.
pub(crate) type OnAnswer = ThreadsafeFunction<AnswerArgs, (), AnswerArgs, Status, false, true>;

/// Classes of calls that wait for the same thing; each has a limit of its own, so that one class cannot
/// block the others.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    /// Waits for the pool only.
    Look,
    /// Waits for the disk or the shared ledger.
    Change,
    /// Waits for a stop.
    Stop,
    /// Waits for a name server.
    Resolve,
}

/// The calls that wait, and the callback for their answers.
pub(crate) struct Calls {
    on_answer: Arc<OnAnswer>,
    waiting: Arc<[AtomicUsize; 4]>,
}

impl Calls {
    pub(crate) fn new(on_answer: OnAnswer) -> Self {
        Self {
            on_answer: Arc::new(on_answer),
            waiting: Arc::default(),
        }
    }

    /// Runs `wait`, which has a deadline, on a new thread, and answers the call with its result.
    pub(crate) fn begin(
        &self,
        class: Class,
        call: u32,
        wait: impl FnOnce() -> napi::Result<AnswerObject> + Send + 'static,
    ) {
        let waiting = self.waiting.clone();
        if waiting[class as usize].fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            waiting[class as usize].fetch_sub(1, Ordering::Relaxed);
            let text = format!("{WAITING_MAX} calls wait for an answer already");
            return answer(&self.on_answer, call, AnswerObject::failed(text));
        }
        let on_answer = self.on_answer.clone();
        let begun = thread::Builder::new()
            .name("hstratum-call".to_owned())
            .spawn(move || {
                let done = catch_unwind(AssertUnwindSafe(wait));
                waiting[class as usize].fetch_sub(1, Ordering::Relaxed);
                let done = match done {
                    Ok(Ok(done)) => done,
                    Ok(Err(error)) => AnswerObject::failed(error.reason.clone()),
                    Err(_) => AnswerObject::failed("the call failed, which is a bug".to_owned()),
                };
                answer(&on_answer, call, done);
            });
        if let Err(error) = begun {
            self.waiting[class as usize].fetch_sub(1, Ordering::Relaxed);
            let text = format!("failed to start a thread: {error}");
            answer(&self.on_answer, call, AnswerObject::failed(text));
        }
    }
}

/// Calls back into JavaScript. The call is refused only while the process ends, when the answer is not
/// needed any more.
fn answer(on_answer: &OnAnswer, call: u32, answer: AnswerObject) {
    let args = FnArgs::from((call, answer));
    on_answer.call(args, ThreadsafeFunctionCallMode::NonBlocking);
}
