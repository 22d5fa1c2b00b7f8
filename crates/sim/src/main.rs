//! The simulator's command line: `make sim SEEDS=200`, `make sim SEED=7 TRACE=1`, `make sim PLANTS=1`.

use std::process::ExitCode;
use std::time::Instant;

use hstratum_sim::plant::Plant;
use hstratum_sim::{Failure, Report, Run, Scene, run, shrink};

const USAGE: &str = "usage: hstratum-sim [--seeds N] [--first N] [--seed N] [--hours H] [--trace] \
                     [--plant NAME] [--plants] [--proxy]";

/// The parsed arguments.
struct Options {
    first: u64,
    seeds: u64,
    hours: f64,
    trace: bool,
    plant: Option<Plant>,
    plants: bool,
    scene: Scene,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.plants {
        return show_plants(options.seeds, options.hours);
    }
    run_seeds(&options)
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            first: 1,
            seeds: 20,
            hours: 3.0,
            trace: false,
            plant: None,
            plants: false,
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
                "--plant" => options.plant = Some(plant(&value()?)?),
                "--plants" => options.plants = true,
                "--proxy" => options.scene = Scene::Proxy,
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        Ok(options)
    }
}

fn plant(name: &str) -> Result<Plant, String> {
    let known = Plant::ALL.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, plant)| *plant)
        .ok_or(format!("no planted bug is named {name:?}"))
}

fn run_seeds(options: &Options) -> ExitCode {
    let started = Instant::now();
    let mut all = Report::default();
    let mut failed = Vec::new();
    for seed in options.first..options.first + options.seeds {
        let seed_run = Run {
            scene: options.scene,
            plant: options.plant,
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

fn show_report(all: &Report) {
    println!("simulated hours   {:.1}", all.ms as f64 / 3_600_000.0);
    println!("events            {}", all.steps);
    println!("shares            {}", all.shares);
    let (blocks, lost) = (all.blocks, all.lost_blocks);
    println!(
        "blocks            {blocks}, of which {lost} died with the process as they were found"
    );
    println!("rewards divided   {}", all.settled);
    for (name, count) in all.injected.iter().chain(&all.counted) {
        println!("{name:<26} {count}");
    }
    for (name, count) in &all.largest {
        println!("most {name:<21} {count}");
    }
}

fn show_failure(failed: &Run, failure: Box<Failure>) {
    let (least, failure) = shrink(failed, failure);
    println!("seed {} is broken at step {}:", failed.seed, failure.step);
    println!("{}\n{}", failure.last, failure.what);
    println!("faults it needs: {:?}\n", least.fault_names());
}

/// Prints a table of the injected bugs and the seeds that find them.
fn show_plants(seeds: u64, hours: f64) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, plant) in Plant::ALL {
        let found = (1..=seeds).find_map(|seed| {
            let planted = Run {
                scene: plant.scene(),
                plant: Some(plant),
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
