//! Checks import circles: files that import each other in a circle can only be read together, so no
//! circle may get wider.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{crates, read, sources};

/// Most files in one circle, by crate. When a circle has become smaller, its new size is entered here; no
/// crate needs more than three.
const FILES_MAX: [(&str, usize); 2] = [("core", 2), ("server", 3)];

/// How many folders are in a circle of folders, by crate: none may be added, and one that is out of it is put
/// down.
const FOLDERS_IN_CIRCLES: [(&str, usize); 2] = [("core", 2), ("server", 0)];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The path of a module without the crate: `pool::submit`; for `pool/mod.rs` it is `pool`.
fn module_of(path: &Path, src: &Path) -> String {
    let path = path
        .strip_prefix(src)
        .expect("a path below it")
        .with_extension("");
    let parts: Vec<_> = path
        .iter()
        .map(|part| part.to_str().expect("UTF-8"))
        .collect();
    parts.join("::").trim_end_matches("::mod").to_owned()
}

/// The product's part of a file: the code before its tests, without comments.
fn product(text: &str) -> String {
    let text = text
        .split("\n#[cfg(test)]\nmod ")
        .next()
        .expect("one part at least");
    let lines = text
        .lines()
        .map(|line| line.split("//").next().expect("one part at least"));
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths after the prefix `begin`, with groups in braces expanded.
fn paths(text: &str, begin: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(begin) {
        let rest = &text[at + begin.len()..];
        let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let end = rest.find(|c: char| !is_of_path(c)).unwrap_or(rest.len());
        let base = &rest[..end];
        let group = rest[end..].strip_prefix('{');
        match group.and_then(|group| group.split_once('}')) {
            Some((group, _)) if base.ends_with("::") || base.is_empty() => {
                found.extend(
                    group
                        .split(',')
                        .map(|item| format!("{base}{}", item.trim())),
                );
            }
            _ => found.push(base.to_owned()),
        }
    }
    found
}

/// The imports of each module of a crate from the others.
fn imports(name: &str) -> Imports {
    let src = crates().join(name).join("src");
    let files: BTreeMap<String, String> = sources(&src)
        .iter()
        .map(|path| (module_of(path, &src), product(&read(path))))
        .filter(|(module, _)| !module.ends_with("tests"))
        .collect();
    let target = |path: &str| {
        let mut path = path;
        loop {
            if files.contains_key(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let imports_of = |module: &str, text: &str| -> BTreeSet<String> {
        let of_crate = paths(text, "crate::");
        let own = paths(text, "self::")
            .into_iter()
            .map(|path| format!("{module}::{path}"));
        let parent = module
            .rsplit_once("::")
            .map(|(parent, _)| format!("{parent}::"));
        let parent = parent.unwrap_or_default();
        let beside = paths(text, "super::")
            .into_iter()
            .map(|path| format!("{parent}{path}"));
        let named = of_crate.into_iter().chain(own).chain(beside);
        named
            .filter_map(|path| target(&path))
            .filter(|to| to != module)
            .collect()
    };
    let all = files
        .iter()
        .map(|(module, text)| (module.clone(), imports_of(module, text)));
    all.collect()
}

/// All modules reachable from a module.
fn reach<'a>(all: &'a Imports, from: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for to in &all[module] {
            if reached.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    reached
}

/// The widest circle: modules that reach each other.
fn widest_circle(all: &Imports) -> Vec<&str> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = all
        .keys()
        .map(|module| (module.as_str(), reach(all, module)))
        .collect();
    let circle = |module: &str| -> Vec<&str> {
        let back = |other: &&&str| reached[**other].contains(module);
        reached[module].iter().filter(back).copied().collect()
    };
    let circles = all.keys().map(|module| circle(module));
    circles.max_by_key(Vec::len).unwrap_or_default()
}

#[test]
fn no_circle_of_imports_is_wider_than_today() {
    for (name, most) in FILES_MAX {
        let all = imports(name);
        assert!(all.len() > 20, "{name}: {}", all.len());
        let widest = widest_circle(&all);
        assert_eq!(widest.len(), most, "{name}: {widest:?}");
    }
}

/// The folder, or the single file of the crate's root, that a module is in.
fn folder(module: &str) -> &str {
    module.split_once("::").map_or(module, |(folder, _)| folder)
}

/// Folders that import each other, over whatever others.
fn folders_in_circles(all: &Imports) -> BTreeSet<String> {
    let mut folders = Imports::new();
    for (from, imports) in all {
        let others = imports.iter().map(|to| folder(to));
        let others = others.filter(|to| *to != folder(from)).map(str::to_owned);
        let known = folders.entry(folder(from).to_owned()).or_default();
        known.extend(others);
    }
    let is_in_one = |name: &&String| reach(&folders, name).contains(name.as_str());
    folders.keys().filter(is_in_one).cloned().collect()
}

#[test]
fn no_more_folders_import_each_other_than_today() {
    for (name, most) in FOLDERS_IN_CIRCLES {
        let found = folders_in_circles(&imports(name));
        assert_eq!(found.len(), most, "{name}: {found:?}");
    }
}

#[test]
fn circles_are_found() {
    let text = "use crate::b::{self, Thing};\nfn f(x: crate::c::Other) {}";
    assert_eq!(paths(text, "crate::"), ["b::self", "b::Thing", "c::Other"]);
    let to = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let all = Imports::from([
        ("a".to_owned(), to(&["b", "d"])),
        ("b".to_owned(), to(&["c"])),
        ("c".to_owned(), to(&["a"])),
        ("d".to_owned(), to(&[])),
    ]);
    assert_eq!(widest_circle(&all), ["a", "b", "c"]);
    let all = Imports::from([
        ("a::x".to_owned(), to(&["b"])),
        ("b".to_owned(), to(&["a::y"])),
        ("c".to_owned(), to(&["b"])),
    ]);
    let found: Vec<String> = folders_in_circles(&all).into_iter().collect();
    assert_eq!(found, ["a", "b"]);
}
