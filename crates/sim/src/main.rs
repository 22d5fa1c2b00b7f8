//! The simulator's command line: `make sim SEEDS=200`, `make sim SEED=7 TRACE=1`, `make sim PLANTS=1`.

use std::process::ExitCode;
use std::time::Instant;

use hstratum_sim::injected_bug::InjectedBug;
use hstratum_sim::{Run, RunReport, Scene, SeedFailure, run, shrink};

const USAGE: &str = "usage: hstratum-sim [--seeds N] [--first N] [--seed N] [--hours H] [--trace] \
                     [--plant NAME] [--plants] [--proxy]";

/// The parsed arguments.
struct CommandLine {
    first: u64,
    seeds: u64,
    hours: f64,
    trace: bool,
    injected_bug: Option<InjectedBug>,
    injected_bugs: bool,
    scene: Scene,
}

fn main() -> ExitCode {
    let options = match CommandLine::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.injected_bugs {
        return show_plants(options.seeds, options.hours);
    }
    run_seeds(&options)
}

impl CommandLine {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            first: 1,
            seeds: 20,
            hours: 3.0,
            trace: false,
            injected_bug: None,
            injected_bugs: false,
            scene: Scene::Server,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("no number: {text:?}"));
            match arg.as_str() {
                "--seeds" => options.seeds = number(value()?)?,
                "--first" => options.first = number(value()?)?,
                "--seed" => {
                    options.first = number(value()?)?;
                    options.seeds = 1;
                }
                "--hours" => {
                    let text = value()?;
                    options.hours = text.parse().map_err(|_| format!("no number: {text:?}"))?;
                }
                "--trace" => options.trace = true,
                "--plant" => options.injected_bug = Some(injected_bug(&value()?)?),
                "--plants" => options.injected_bugs = true,
                "--proxy" => options.scene = Scene::Proxy,
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        Ok(options)
    }
}

fn injected_bug(name: &str) -> Result<InjectedBug, String> {
    let known = InjectedBug::ALL.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, injected_bug)| *injected_bug)
        .ok_or(format!("no planted bug is named {name:?}"))
}

fn run_seeds(options: &CommandLine) -> ExitCode {
    let started = Instant::now();
    let mut all = RunReport::default();
    let mut failed = Vec::new();
    for seed in options.first..options.first + options.seeds {
        let seed_run = Run {
            scene: options.scene,
            injected_bug: options.injected_bug,
            prints: options.trace,
            ..Run::of(seed, options.hours)
        };
        match run(&seed_run) {
            Ok(report) => all.add(report),
            Err(failure) => {
                let quiet = Run {
                    prints: false,
                    ..seed_run
                };
                show_failure(&quiet, failure);
                failed.push(seed);
            }
        }
    }
    println!("seeds             {}", options.seeds);
    show_report(&all);
    println!("real time         {:.1} s", started.elapsed().as_secs_f64());
    if failed.is_empty() {
        println!("nothing is broken");
        return ExitCode::SUCCESS;
    }
    println!("broken in seeds   {failed:?}");
    ExitCode::FAILURE
}

fn show_report(all: &RunReport) {
    println!("simulated hours   {:.1}", all.ms as f64 / 3_600_000.0);
    println!("events            {}", all.steps);
    println!("shares            {}", all.shares);
    println!("solo shares       {}", all.solo_shares);
    let (blocks, lost) = (all.blocks, all.lost_blocks);
    println!(
        "blocks            {blocks}, of which {lost} died with the process as they were found"
    );
    println!("solo blocks       {}", all.solo_blocks);
    println!("rewards divided   {}", all.settled);
    for (name, count) in all.injected.iter().chain(&all.counted) {
        println!("{name:<26} {count}");
    }
    for (name, count) in &all.largest {
        println!("most {name:<21} {count}");
    }
}

fn show_failure(failed: &Run, failure: Box<SeedFailure>) {
    let (least, failure) = shrink(failed, failure);
    println!("seed {} is broken at step {}:", failed.seed, failure.step);
    println!("{}\n{}", failure.last, failure.what);
    println!("faults it needs: {:?}\n", least.fault_names());
}

/// Prints a table of the injected bugs and the seeds that find them.
fn show_plants(seeds: u64, hours: f64) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, injected_bug) in InjectedBug::ALL {
        let found = (1..=seeds).find_map(|seed| {
            let planted = Run {
                scene: injected_bug.scene(),
                injected_bug: Some(injected_bug),
                ..Run::of(seed, hours)
            };
            Some((seed, run(&planted).err()?))
        });
        match found {
            Some((seed, failure)) => {
                let what = failure.what.lines().nth(1).unwrap_or_default();
                println!("{name:<24} seed {seed:<4} {what}");
            }
            None => {
                println!("{name:<24} not found in {seeds} seeds");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
