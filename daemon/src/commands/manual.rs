//! `clipmarkd manual`: manual pages and shell completions, made from the command line's own definition.
//!
//! Packaging calls it on the very binary that is shipped, so that pages and program cannot disagree.

use crate::exit_codes::{CommandError, ExitCode};
use clap::Command;
use clap_complete::Shell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Shells that get completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Arguments of `clipmarkd manual`.
#[derive(Debug, clap::Args)]
pub struct ManualArgs {
    /// Gets man/*.1 and completions/*
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl ManualArgs {
    /// Writes the files for the command line that `cli` defines.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn execute(&self, cli: &Command) -> Result<ExitCode, CommandError> {
        let failed = |error: io::Error| {
            let text = format!(
                "cannot write {}: {error}; choose a folder that can be written",
                self.folder.display()
            );
            CommandError::new(ExitCode::Storage, text)
        };
        write(cli, &self.folder).map_err(failed)?;
        Ok(ExitCode::Success)
    }
}

fn write(cli: &Command, folder: &Path) -> io::Result<()> {
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(cli.clone(), pages)?;
    for shell in SHELLS {
        let mut command = cli.clone();
        let name = command.get_name().to_owned();
        clap_complete::generate_to(shell, &mut command, name, &completions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    fn files(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn every_visible_command_has_a_page_and_hidden_ones_have_none() {
        let folder = tempfile::tempdir().unwrap();
        write(&Cli::command(), folder.path()).unwrap();
        let command = Cli::command();
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        let mut expected: BTreeSet<String> =
            visible.map(|command| format!("clipmarkd-{}.1", command.get_name())).collect();
        expected.insert("clipmarkd.1".into());
        let found = files(&folder.path().join("man"));
        let missing: Vec<&String> = expected.difference(&found).collect();
        assert_eq!(missing, Vec::<&String>::new());
        assert!(!found.contains("clipmarkd-worker.1") && !found.contains("clipmarkd-manual.1"), "{found:?}");
        let page = fs::read_to_string(folder.path().join("man/clipmarkd-serve.1")).unwrap();
        assert!(page.contains("/etc/clipmark/clipmarkd.toml"), "{page}");
    }

    #[test]
    fn three_shells_complete_the_commands() {
        let folder = tempfile::tempdir().unwrap();
        write(&Cli::command(), folder.path()).unwrap();
        let completions = folder.path().join("completions");
        let expected = ["_clipmarkd", "clipmarkd.bash", "clipmarkd.fish"].map(String::from);
        assert_eq!(files(&completions), BTreeSet::from(expected.clone()));
        for file in expected {
            let text = fs::read_to_string(completions.join(&file)).unwrap();
            assert!(text.contains("probe") && text.contains("serve"), "{file}");
        }
    }
}
