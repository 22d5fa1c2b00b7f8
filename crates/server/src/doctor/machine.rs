//! Checks limits of the machine.

use rustix::process::{Resource, getrlimit};

use crate::config::Config;
use crate::limits::DESCRIPTORS_KEPT;

use super::{CheckedPart, Findings};

pub(super) fn examine(config: &Config, findings: &mut Findings) {
    let wanted = u64::from(config.max_inbound) + DESCRIPTORS_KEPT as u64;
    // The server raises its own soft limit to the hard one.
    match getrlimit(Resource::Nofile).maximum {
        Some(hard) if hard < wanted => findings.warn(
            CheckedPart::Machine,
            format!(
                "a process may open {hard} files here; max-inbound: {} needs {wanted}",
                config.max_inbound
            ),
            format!("LimitNOFILE={wanted} in the systemd unit, or a lower max-inbound"),
        ),
        Some(hard) => findings.ok(
            CheckedPart::Machine,
            format!("a process may open {hard} files here, {wanted} are needed"),
        ),
        None => findings.ok(
            CheckedPart::Machine,
            "a process may open any number of files",
        ),
    }
}
