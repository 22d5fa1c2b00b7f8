//! Checks that functions stay short: no new one is longer than 70 lines, and none of the old ones grows.

use std::collections::BTreeMap;
use std::fs;

use super::{crates, read, sources};

const LINES_MAX: usize = 70;

/// Functions that are longer today, with their lines. When one has become shorter, its new length is
/// entered here; at [`LINES_MAX`] it leaves the list.
const LONGER: [(&str, &str, usize); 3] = [
    (
        "cli/tests/it/ledger_import.rs",
        "old_files_become_blocks_and_work_once",
        73,
    ),
    (
        "server/tests/it/payout_settle/upkeep.rs",
        "broken_promises_are_found",
        74,
    ),
    (
        "server/tests/it/cluster_http.rs",
        "pool_is_that_of_all_servers",
        80,
    ),
];

/// Names and lengths of the functions in a source text formatted by rustfmt.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| line.strip_prefix(indent) == Some("}");
        // A declaration without a body ends with its semicolon.
        let body = lines[start..].iter().position(|line| line.ends_with('{'));
        let declared = lines[start..].iter().position(|line| line.ends_with(';'));
        let is_whole =
            line.ends_with('}') || declared.is_some_and(|at| body.is_none_or(|body| at < body));
        let len = match is_whole {
            true => 1,
            false => {
                1 + lines[start..]
                    .iter()
                    .position(ends)
                    .expect("a function ends")
            }
        };
        found.push((name, len));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let is_qualifier = |word: &str| {
        ["const", "async", "unsafe", "extern", "\"C\""].contains(&word) || word.starts_with("pub")
    };
    let name = after.split(['(', '<']).next()?;
    (before.split_whitespace().all(is_qualifier) && !name.is_empty()).then_some(name)
}

#[test]
fn no_function_grows_beyond_a_glance() {
    let mut longer = BTreeMap::new();
    for entry in fs::read_dir(crates()).expect("the folder is there") {
        let folder = entry.expect("an entry").path();
        let parts = ["src", "tests", "benches"].map(|part| folder.join(part));
        for path in parts
            .iter()
            .filter(|part| part.is_dir())
            .flat_map(|part| sources(part))
        {
            let text = read(&path);
            let place = path.strip_prefix(crates()).expect("a path below it");
            for (name, len) in functions(&text) {
                if len > LINES_MAX {
                    longer.insert((place.display().to_string(), name.to_owned()), len);
                }
            }
        }
    }
    let known = LONGER.map(|(place, name, len)| ((place.to_owned(), name.to_owned()), len));
    assert_eq!(longer, BTreeMap::from(known));
}

#[test]
fn functions_are_counted() {
    let text = "pub fn one() {}\n\nimpl X {\n    const fn two(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n    \
                fn three(&self) -> u8;\n    fn four() {\n    }\n}\n// fn none\n";
    let found = functions(text);
    assert_eq!(found, [("one", 1), ("two", 5), ("three", 1), ("four", 2)]);
}
