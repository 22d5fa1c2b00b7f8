//! Estimates compared with what two hundred blocks brought, while hashrates change.

use hstratum_sim::run_with_estimates;

const BLOCKS: u64 = 200;

#[test]
fn what_is_pending_is_credited_and_a_block_found_now_brings_what_was_told_but_for_shares_on_their_way()
 {
    for window in [None, Some("2")] {
        let report = run_with_estimates(1, window, BLOCKS);
        let name = window.map_or("prop".to_owned(), |window| format!("pplns over {window}"));
        let percent = |part: f64| format!("{:.4} %", part * 100.0);
        let mean = |sum: f64| percent(sum / report.forecasts as f64);
        println!(
            "{name}: {} blocks settled; pending: {} readings exact, {} before all was in the ledger; \
             found now: {} blocks, off by {} of the reward at most and {} on average, work not in the ledger \
             {} at most and {} on average; {} blocks before the verdict on the one below",
            report.blocks,
            report.pending_exact,
            report.pending_early,
            report.forecasts,
            percent(report.off_largest),
            mean(report.off_sum),
            percent(report.missing_largest),
            mean(report.missing_sum),
            report.forecasts_of_other_rounds,
        );
        assert!(report.blocks >= BLOCKS && report.pending_exact >= BLOCKS);
        assert!(report.forecasts > BLOCKS * 3 / 4, "{report:?}");
    }
}
