//! Directories of commands under way, and the results in them.

use crate::operation::{ORDER, OUTPUTS, Order, Output};
use crate::spool::{Spool, SpoolError};
use clipmark_profile::message::SequenceRange;
use clipmark_profile::topics::{CommandId, UpKind};
use clipmark_service::outcome::in_one_line;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where a command works.
pub(super) fn dir_of(state_dir: &Path, command: &CommandId) -> PathBuf {
    state_dir.join("runs").join(command.as_str())
}

/// Why results did not reach the spool. They are still in the command's directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolingError {
    #[error("cannot read the result {}: {source}; check that the daemon's user owns it", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}", in_one_line(.0))]
    Spool(#[from] SpoolError),
}

/// Puts every output into the spool that is not there yet, and returns all records of the command. May be
/// repeated: what a crash interrupted is completed, and nothing is spooled twice.
pub(super) fn spool_outputs(
    spool: &mut Spool,
    command: &CommandId,
    dir: &Path,
    outputs: &[Output],
    now_unix_ms: u64,
) -> Result<Option<SequenceRange>, SpoolingError> {
    let mut there: BTreeMap<UpKind, usize> =
        UpKind::ALL.iter().map(|&kind| (kind, spool.contents_of(command, kind))).collect();
    for output in outputs {
        // Outputs are spooled in order, so those of a kind that are there are the first ones.
        if let Some(left @ 1..) = there.get_mut(&output.kind) {
            *left -= 1;
            continue;
        }
        let path = dir.join(&output.file);
        let content = fs::read(&path).map_err(|source| SpoolingError::Read { path, source })?;
        spool.append(output.kind, Some(command), &content, now_unix_ms)?;
    }
    Ok(spool.records_of(command))
}

/// The outputs that a child listed, if it came to that.
pub(super) fn listed_outputs(dir: &Path) -> Vec<Output> {
    let bytes = fs::read(dir.join(OUTPUTS)).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Removes the directories of commands that are over, but for the `keep` latest runs.
pub(super) fn tidy(state_dir: &Path, keep: usize, is_over: impl Fn(&CommandId) -> bool) {
    let runs = state_dir.join("runs");
    let mut over: Vec<(SystemTime, bool, PathBuf)> = fs::read_dir(&runs)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let command: CommandId = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path();
            let modified = entry.metadata().ok()?.modified().ok()?;
            is_over(&command).then(|| (modified, is_run(&path), path))
        })
        .collect();
    over.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
    let kept: Vec<PathBuf> =
        over.iter().filter(|(_, is_run, _)| *is_run).take(keep).map(|(.., path)| path.clone()).collect();
    for (.., path) in over.into_iter().filter(|(.., path)| !kept.contains(path)) {
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(%error, dir = %path.display(), "the directory of a finished command cannot be removed");
        }
    }
}

fn is_run(dir: &Path) -> bool {
    let order = fs::read(dir.join(ORDER)).ok();
    let order = order.and_then(|bytes| serde_json::from_slice::<Order>(&bytes).ok());
    order.is_some_and(|order| order.task.run.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SeriesPolicy;
    use crate::placement::Placement;
    use crate::session::Task;
    use crate::spool::Bounds;
    use clipmark_profile::message::Epoch;
    use clipmark_profile::plan::{Limits, Request};
    use clipmark_profile::topics::Operation;

    const BOUNDS: Bounds = Bounds { segment_bytes: 1 << 20, max_bytes: 1 << 22, reserve_bytes: 4096 };

    fn command(name: &str) -> CommandId {
        name.parse().unwrap()
    }

    #[test]
    fn outputs_are_spooled_once_even_when_a_crash_cut_the_first_try_short() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(&dir.path().join("spool"), BOUNDS, Epoch(1), 0).unwrap();
        let outputs = [
            (UpKind::Profile, "profile.cbor"),
            (UpKind::Series, "series-0.cbor"),
            (UpKind::Series, "series-1.cbor"),
        ];
        let outputs = outputs.map(|(kind, file)| Output { kind, file: file.into() });
        for output in &outputs {
            fs::write(dir.path().join(&output.file), b"content").unwrap();
        }
        let c = command("c");
        let first = spool_outputs(&mut spool, &c, dir.path(), &outputs[..1], 0).unwrap();
        assert_eq!(first, Some(SequenceRange { first: 1, last: 1 }));
        for tried in [2, 3, 3] {
            let all = spool_outputs(&mut spool, &c, dir.path(), &outputs[..tried], 0).unwrap();
            assert_eq!(all, Some(SequenceRange { first: 1, last: tried as u64 }));
        }
        assert_eq!(spool.unconfirmed(), 3);
    }

    #[test]
    fn a_missing_output_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(&dir.path().join("spool"), BOUNDS, Epoch(1), 0).unwrap();
        let outputs = [Output { kind: UpKind::Profile, file: "profile.cbor".into() }];
        let error = spool_outputs(&mut spool, &command("c"), dir.path(), &outputs, 0).unwrap_err();
        assert!(error.to_string().contains("profile.cbor"), "{error}");
    }

    #[test]
    fn the_latest_runs_are_kept_and_what_is_not_over_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, run: Option<Box<Request>>| {
            let path = dir_of(dir.path(), &command(name));
            fs::create_dir_all(&path).unwrap();
            let operation = if run.is_some() { Operation::Run } else { Operation::Probe };
            let order = Order {
                task: Task { operation, run },
                models: Vec::new(),
                models_dir: PathBuf::new(),
                limits: Limits::default(),
                series: SeriesPolicy::default(),
                placement: Placement::default(),
                origin: String::new(),
            };
            fs::write(path.join(ORDER), serde_json::to_vec(&order).unwrap()).unwrap();
            path
        };
        let run = || Some(Box::new(Request::default()));
        let paths = [make("old", run()), make("new", run()), make("probe", None), make("going", run())];
        for (age, path) in [900, 10, 5, 1].iter().zip(&paths) {
            let at = SystemTime::now() - std::time::Duration::from_secs(*age);
            fs::File::open(path).unwrap().set_modified(at).unwrap();
        }
        tidy(dir.path(), 1, |command| command.as_str() != "going");
        let left: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!(left, [false, true, false, true]);
    }
}
