//! `hstratum completions` and `hstratum man`: what packages install beside the binary.

use std::path::PathBuf;
use std::{fs, io};

use anyhow::Context;
use clap_complete::Shell;

use crate::terminal::print;

/// Arguments of `hstratum completions`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  hstratum completions bash > ~/.local/share/bash-completion/completions/hstratum")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Arguments of `hstratum man`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  hstratum man ~/.local/share/man/man1 && man hstratum-mine")]
pub(crate) struct Man {
    /// The directory, which is created if it does not exist
    dir: PathBuf,
}

/// Prints the completions.
pub(crate) fn completions(args: &Completions, mut command: clap::Command) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "hstratum", &mut text);
    print(&String::from_utf8(text).context("the completions are not UTF-8")?)
}

/// Writes a page for the program and one for each command that is not hidden.
pub(crate) fn man(args: &Man, command: clap::Command) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(&args.dir)?;
        clap_mangen::generate_to(command, &args.dir)
    };
    write().with_context(|| format!("failed to write pages into {}", args.dir.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    #[test]
    fn every_visible_command_has_a_page() {
        let dir = tempfile::tempdir().expect("a directory");
        let args = Man {
            dir: dir.path().join("man1"),
        };
        man(&args, Cli::command()).expect("written");
        for command in Cli::command().get_subcommands() {
            let page = args.dir.join(format!("hstratum-{}.1", command.get_name()));
            assert_eq!(page.exists(), !command.is_hide_set(), "{}", page.display());
        }
        let page = fs::read_to_string(args.dir.join("hstratum.1")).expect("read");
        assert!(page.contains("doctor") && page.contains("completions"));
    }
}
