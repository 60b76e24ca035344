//! `metricstream completions` and `metricstream man`: what a shell and a reader of manuals want, made from
//! the definitions of the command line itself.
//!
//! Promises: both know every command, flag and value that `--help` knows.
//! Leaves to the caller: where the files go; the help of the commands names the usual places.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{BAD_USAGE, Cli};

/// The program's name.
const NAME: &str = "metricstream";

/// Print completions for a shell
///
/// bash: `metricstream completions bash > /usr/share/bash-completion/completions/metricstream`
/// zsh: `metricstream completions zsh > /usr/share/zsh/site-functions/_metricstream`
/// fish: `metricstream completions fish > /usr/share/fish/vendor_completions.d/metricstream.fish`
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page of the program or of one of its commands, or write all of them
///
/// `metricstream man serve | man -l -` shows one; `metricstream man --dir /usr/share/man/man1` installs all.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The command whose page is printed; without it the program's
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Option<String>,

    /// Write every page into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the completions.
#[must_use]
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut text);
    super::print(&String::from_utf8_lossy(&text))
}

/// Prints or writes manual pages. Exit code: 0, 1 when a file cannot be written, 2 when there is no such
/// command.
#[must_use]
pub fn man(args: &ManArgs) -> ExitCode {
    let pages = pages();
    if let Some(dir) = &args.dir {
        return match write_all(&pages, dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!(
                    "{NAME}: cannot write manual pages into {}: {error}",
                    dir.display()
                );
                ExitCode::FAILURE
            }
        };
    }
    let wanted = match &args.command {
        Some(command) => format!("{NAME}-{command}"),
        None => NAME.to_owned(),
    };
    match pages.iter().find(|(name, _)| *name == wanted) {
        Some((_, page)) => super::print(page),
        None => {
            let names: Vec<_> = pages
                .iter()
                .filter_map(|(name, _)| name.strip_prefix("metricstream-"))
                .collect();
            let command = args.command.as_deref().unwrap_or_default();
            eprintln!(
                "{NAME}: there is no command {command}; there are {}",
                names.join(", ")
            );
            ExitCode::from(BAD_USAGE)
        }
    }
}

/// The pages by their names: the program's, and one for each command.
fn pages() -> Vec<(String, String)> {
    let mut program = Cli::command();
    program.build();
    let commands = program
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .map(|command| {
            let name = format!("{NAME}-{}", command.get_name());
            // Leaked: clap wants names that live as long as the program, and there are a dozen.
            let leaked: &'static str = Box::leak(name.clone().into_boxed_str());
            (name, command.clone().name(leaked))
        });
    let own = std::iter::once((NAME.to_owned(), program.clone()));
    own.chain(commands)
        .map(|(name, command)| (name, page(command)))
        .collect()
}

fn page(command: Command) -> String {
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = Man::new(command).render(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn write_all(pages: &[(String, String)], dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    pages
        .iter()
        .try_for_each(|(name, page)| fs::write(dir.join(format!("{name}.1")), page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let pages = pages();
        let page = |name: &str| {
            let found = pages.iter().find(|(own, _)| own == name);
            &found.unwrap_or_else(|| panic!("no page {name}")).1
        };
        for command in Cli::command().get_subcommands() {
            assert!(page(NAME).contains(&format!("metricstream\\-{}", command.get_name())));
            page(&format!("{NAME}-{}", command.get_name()));
        }
        for flag in crate::config::sources::entries() {
            let written = flag.flag().replace('-', "\\-");
            assert!(page("metricstream-serve").contains(&written), "{written}");
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }
}
