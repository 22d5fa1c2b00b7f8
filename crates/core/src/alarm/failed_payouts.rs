//! Watches the payouts that the server makes.

use super::input::PayoutInput;
use super::kind::{Alarm, AlarmKind, Detail, plain};

/// The failure that was reported last, if no run has come to its end since.
#[derive(Default)]
pub(super) struct FailedPayouts {
    /// Its reason without digits: amounts and heights change while the reason stays.
    reported: Option<String>,
}

impl FailedPayouts {
    pub(super) fn check(&mut self, report: PayoutInput, out: &mut Vec<Alarm>) {
        match report {
            PayoutInput::Sent(text) => {
                out.push(plain(AlarmKind::PayoutSent, format!("Payout: {text}")));
            }
            PayoutInput::Well => self.reported = None,
            PayoutInput::Failed(reason) => {
                let kind = reason.replace(|sign: char| sign.is_ascii_digit(), "");
                if self.reported.as_ref() != Some(&kind) {
                    self.reported = Some(kind);
                    out.push(Alarm {
                        kind: AlarmKind::PayoutFailed,
                        text: format!("The payout failed, and is tried again: {reason}"),
                        detail: Detail::Reason(reason),
                    });
                }
            }
        }
    }
}
