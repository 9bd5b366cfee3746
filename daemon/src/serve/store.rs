//! Commands on disk: one file each, replaced as a whole, so that a crash leaves the old or the new one.

use crate::session::{PastCommand, QueuedCommand};
use clipmark_profile::topics::CommandId;
use clipmark_service::durable::{DiskError, replace};
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

/// Longest file that is read back: a command with the largest result.
const LIMIT: u64 = 1 << 20;

/// Holds what is left of commands that were carried out long ago, a line of JSON each.
const PAST: &str = "past";

/// The length at which that file is written anew: twice what is remembered.
const PAST_LIMIT: u64 = 8 << 20;

/// The directory of commands.
#[derive(Debug)]
pub(super) struct CommandStore {
    dir: PathBuf,
}

impl CommandStore {
    /// Opens or creates the directory and reads every command. A file that cannot be read back is renamed to
    /// `*.bad` and reported: the command is then unknown.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<QueuedCommand>), DiskError> {
        fs::create_dir_all(dir).map_err(DiskError::of("create", dir))?;
        let mut commands = Vec::new();
        for entry in fs::read_dir(dir).map_err(DiskError::of("list", dir))? {
            let path = entry.map_err(DiskError::of("list", dir))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(command) => commands.push(command),
                Err(problem) => {
                    let bad = path.with_extension("bad");
                    tracing::error!(file = %path.display(), problem, "a stored command is unreadable and set aside");
                    fs::rename(&path, &bad).map_err(DiskError::of("set aside", &path))?;
                }
            }
        }
        Ok((Self { dir: dir.to_owned() }, commands))
    }

    fn path(&self, command: &CommandId) -> PathBuf {
        self.dir.join(format!("{command}.json"))
    }

    /// Makes a command durable.
    pub(super) fn write(&self, command: &QueuedCommand) -> Result<(), DiskError> {
        let path = self.path(&command.status.command);
        let bytes =
            serde_json::to_vec(command).map_err(|error| DiskError::of("encode", &path)(error.into()))?;
        replace(&path, &bytes)
    }

    /// Notes what is left of a command that was carried out, and removes the rest of it. `all` are the past commands
    /// that are still to be known, for the case that the file has grown.
    pub(super) fn archive<'a>(
        &self,
        command: &PastCommand,
        all: impl Iterator<Item = &'a PastCommand>,
    ) -> Result<(), DiskError> {
        let path = self.dir.join(PAST);
        let line = |command: &PastCommand| -> Result<Vec<u8>, DiskError> {
            let line =
                serde_json::to_vec(command).map_err(|error| DiskError::of("encode", &path)(error.into()))?;
            Ok([line.as_slice(), b"\n"].concat())
        };
        let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if length > PAST_LIMIT {
            let lines = all.map(line).collect::<Result<Vec<_>, _>>()?;
            replace(&path, &lines.concat())?;
        } else {
            let mut file = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(DiskError::of("open", &path))?;
            let written = file.write_all(&line(command)?).and_then(|()| file.sync_data());
            written.map_err(DiskError::of("append to", &path))?;
        }
        self.remove(&command.command)
    }

    /// What is left of commands that were carried out long ago, the oldest first. A line that a crash cut short is of
    /// a command that is still there whole.
    pub(super) fn past(&self) -> Result<Vec<PastCommand>, DiskError> {
        let path = self.dir.join(PAST);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(DiskError::of("open", &path))?,
        };
        let lines = io::BufReader::new(file.take(PAST_LIMIT + LIMIT)).split(b'\n');
        let lines = lines.map(|line| line.map_err(DiskError::of("read", &path)));
        let commands =
            lines.filter_map(|line| line.map(|line| serde_json::from_slice(&line).ok()).transpose());
        commands.collect()
    }

    /// Removes a command.
    pub(super) fn remove(&self, command: &CommandId) -> Result<(), DiskError> {
        let path = self.path(command);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::of("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<QueuedCommand, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LIMIT {
        return Err(format!("{length} bytes are too many"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let command: QueuedCommand = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(command.status.command.as_str()) {
        return Err("the file's name is not that of its command".into());
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Task;
    use clipmark_profile::plan::Request;
    use clipmark_profile::topics::Operation;

    fn command(id: &str) -> QueuedCommand {
        let mut command = QueuedCommand::new(id.parse().unwrap(), Operation::Run.into(), 7, 1000);
        let request = Request { budget_s: Some(12.5), models: vec!["joint".into()], ..Request::default() };
        command.task = Some(Task { operation: Operation::Run, run: Some(Box::new(request)) });
        command
    }

    #[test]
    fn commands_come_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let (store, commands) = CommandStore::open(dir.path()).unwrap();
        assert_eq!(commands, []);
        store.write(&command("a")).unwrap();
        store.write(&command("b")).unwrap();
        store.remove(&"b".parse().unwrap()).unwrap();
        store.remove(&"never".parse().unwrap()).unwrap();
        assert_eq!(CommandStore::open(dir.path()).unwrap().1, [command("a")]);
    }

    #[test]
    fn what_is_archived_comes_back_in_its_order_whatever_a_crash_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = CommandStore::open(dir.path()).unwrap();
        assert_eq!(store.past().unwrap(), []);
        let past = ["a", "b"].map(|id| PastCommand {
            command: id.parse().unwrap(),
            operation: Operation::Run.into(),
            state: clipmark_profile::message::CommandState::Successful,
            at_unix_ms: 7,
            code: None,
            epoch: None,
            records: None,
        });
        store.write(&command("a")).unwrap();
        store.archive(&past[0], [].iter()).unwrap();
        store.archive(&past[1], [].iter()).unwrap();
        let (store, commands) = CommandStore::open(dir.path()).unwrap();
        assert_eq!((commands, store.past().unwrap()), (Vec::new(), past.to_vec()));
        let path = dir.path().join(PAST);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        assert_eq!(store.past().unwrap(), past[..1]);
        // Grown too long, it is written anew with what is still to be known.
        fs::write(&path, vec![b'\n'; PAST_LIMIT as usize + 1]).unwrap();
        store.archive(&past[1], past.iter()).unwrap();
        assert_eq!(store.past().unwrap(), past);
    }

    #[test]
    fn unreadable_files_are_set_aside_and_do_not_stop_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = CommandStore::open(dir.path()).unwrap();
        store.write(&command("good")).unwrap();
        fs::write(dir.path().join("torn.json"), b"{\"status\":").unwrap();
        fs::copy(dir.path().join("good.json"), dir.path().join("other.json")).unwrap();
        fs::write(dir.path().join("leftover.tmp"), b"x").unwrap();
        let (_, commands) = CommandStore::open(dir.path()).unwrap();
        assert_eq!(commands, [command("good")]);
        assert!(dir.path().join("torn.bad").exists() && dir.path().join("other.bad").exists());
    }

    #[test]
    fn a_disk_that_refuses_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = CommandStore::open(dir.path()).unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        let error = store.write(&command("a")).unwrap_err().to_string();
        assert!(error.contains("a.json.tmp") && error.contains("No such file"), "{error}");
    }
}
