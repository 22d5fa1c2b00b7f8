//! Traces of blocks on a real server: from a new tip to the miners' jobs, and from a share to a peer's request.

use std::time::Duration;

use hstratum_core::event::Level;
use hstratum_core::units::Height;

use crate::browser::{Browser, serve};
use crate::harness::miner::Want;
use crate::harness::{Chain, Miner, payee, wait_until};

/// The value of a line of `/metrics`.
fn value(metrics: &str, name: &str) -> f64 {
    let of_line = |line: &str| {
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        value.parse::<f64>().ok()
    };
    let value = metrics.lines().find_map(of_line);
    value.unwrap_or_else(|| panic!("no {name}\n{metrics}"))
}

/// The metrics once each of these histograms has counted so many.
fn counted(browser: &Browser, names: &[&str], count: f64) -> String {
    let mut metrics = String::new();
    wait_until("the traces are counted", || {
        metrics = browser.get("/metrics").body;
        let is_counted = |name: &&str| value(&metrics, &format!("{name}_count")) == count;
        names.iter().all(is_counted)
    });
    metrics
}

/// Asserts that each step was counted, and that all are as long as the whole.
fn assert_sum(metrics: &str, steps: &[&str], of_steps: &str, whole: &str) {
    let mut sum_s = 0.0;
    for step in steps {
        let of = |part| value(metrics, &format!("{of_steps}_{part}{{step=\"{step}\"}}"));
        assert_eq!(of("count"), value(metrics, &format!("{whole}_count")));
        sum_s += of("sum");
    }
    let whole_s = value(metrics, &format!("{whole}_sum"));
    assert!((sum_s - whole_s).abs() < 1e-9, "{sum_s} {whole_s}");
}

#[test]
fn first_job_on_each_new_tip_is_traced_to_the_first_and_the_last_miner() {
    let (running, browser) = serve(&[("listen", "tcp://127.0.0.1:0?payout=solo")]);
    let mut chain = Chain::hard();
    running.move_on(chain.empty_at(0));
    let mut miner = running.mine_as("alice");
    let mut solo = Miner::connect(running.server.addresses()[1]);
    solo.log_in(&payee(1), "");
    let mut works = (miner.wait_for_work(), solo.wait_for_work());

    for above in 1..3 {
        let parts = chain.empty_at(above);
        let (tip, height) = (parts.prev_block, Height(parts.height.0 - 1));
        running.server.tip(tip, height);
        running
            .server
            .template_made(parts, Duration::from_micros(1));
        works = (
            miner.wait_for_new_work(&works.0),
            solo.wait_for_new_work(&works.1),
        );
        let count = above as usize;
        let (level, line) = running
            .node
            .wait_for_logs("new tip: ", count)
            .remove(count - 1);
        assert_eq!(level, Level::Info);
        let head = format!("new tip: {} {tip}: 2 miners had its job after ", height.0);
        assert!(line.starts_with(&head), "{line}");
        assert!(line.contains(" ms (template "), "{line}");

        // With other transactions, and the tip told again: neither has a trace.
        running.server.tip(tip, height);
        running.server.template(chain.empty_at(above));
        works = (
            miner.wait_for_new_work(&works.0),
            solo.wait_for_new_work(&works.1),
        );
    }
    let [first, last] = ["first", "last"].map(|one| format!("hstratum_tip_to_{one}_job_seconds"));
    let metrics = counted(&browser, &[&first, &last], 2.0);
    let steps = ["template", "hand_over", "queue", "job", "first", "last"];
    let of_steps = "hstratum_tip_to_job_step_seconds";
    assert_sum(&metrics, &steps[..5], of_steps, &first);
    assert_sum(&metrics, &steps, of_steps, &last);
    assert_eq!(running.node.wait_for_logs("new tip: ", 2).len(), 2);
}

#[test]
fn each_found_block_is_traced_from_its_share_to_a_peers_request() {
    let (running, browser) = serve(&[]);
    running.move_on(Chain::easy().empty_at(0));
    let mut miner = running.mine_as("alice");
    miner.mine(Want::Share);
    for count in 1..3 {
        let hash = miner.mine(Want::Block);
        running.server.block_announced(&hash, 3, Duration::ZERO);
        running.server.block_asked(&hash);
        running.server.block_spread(&hash, 2);
        let (_, line) = running
            .node
            .wait_for_logs("block race: ", count)
            .remove(count - 1);
        assert!(line.contains(&hash.to_string()), "{line}");
        assert!(line.contains(", no rival seen (check "), "{line}");
    }
    let metrics = counted(&browser, &["hstratum_share_to_request_seconds"], 2.0);
    assert_sum(
        &metrics,
        &["check", "offer", "announce", "request"],
        "hstratum_share_to_request_step_seconds",
        "hstratum_share_to_request_seconds",
    );
}
