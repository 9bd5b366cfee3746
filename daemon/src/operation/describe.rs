//! What a device is: read in a child process, so that the daemon stays small and never waits for a disk.

use super::models;
use crate::backend;
use clipmark_probes::board::{Boards, Fingerprint};
use clipmark_probes::environment;
use clipmark_probes::root::Root;
use clipmark_profile::message::ModelInfo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a device says of itself at birth, apart from its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Board model.
    pub board: Option<String>,
    /// Jetson Linux release.
    pub l4t: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Power mode.
    pub power_mode: Option<String>,
    /// Backends in this build.
    pub backends: Vec<String>,
    /// Models that a request can name.
    pub models: Vec<ModelInfo>,
    /// What could not be found out, with the cause.
    pub absent: Vec<String>,
}

/// A digest, and the file that it was taken of: same size and time of change, same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Digested {
    size: u64,
    changed_s: i64,
    changed_ns: i64,
    sha256: String,
}

type Cache = BTreeMap<String, Digested>;

/// Everything but the models' digests.
pub(super) fn describe(root: &Root, models_dir: &Path) -> Description {
    let mut description = Description {
        backends: backend::registry().iter().map(|backend| backend.name().into()).collect(),
        models: models::names(models_dir),
        ..Description::default()
    };
    match Boards::embedded() {
        Ok(boards) => {
            let board = boards.find(&Fingerprint::read(root));
            let found = environment::read(root, &board, env!("CARGO_PKG_VERSION"));
            description.board = found.board;
            description.l4t = found.l4t;
            description.kernel = found.kernel;
            description.power_mode = found.power_mode;
            let told = ["board", "kernel", "power_mode"];
            let absent = found.absent.into_iter().filter(|(name, _)| told.contains(&name.as_str()));
            description.absent.extend(absent.map(|(name, cause)| format!("{name}: {cause}")));
        }
        Err(error) => description.absent.push(format!("board: {error}")),
    }
    if let Err(error) = fs::read_dir(models_dir) {
        description.absent.push(format!("models: cannot list {}: {error}", models_dir.display()));
    }
    description
}

/// Adds the digests. What the cache knows of an unchanged file is not computed again.
pub(super) fn digest(description: &mut Description, models_dir: &Path, cache_file: &Path) {
    let cached: Cache =
        fs::read(cache_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let mut fresh = Cache::new();
    for model in &mut description.models {
        match digest_one(model, models_dir, &cached) {
            Ok(Some(digested)) => {
                model.sha256 = Some(digested.sha256.clone());
                fresh.insert(model.name.clone(), digested);
            }
            Ok(None) => {}
            Err(error) => description.absent.push(format!("digest of {}: {error}", model.name)),
        }
    }
    if fresh == cached {
        return;
    }
    let written = serde_json::to_vec(&fresh).map_err(std::io::Error::from);
    if let Err(error) = written.and_then(|bytes| fs::write(cache_file, bytes)) {
        tracing::warn!(%error, file = %cache_file.display(), "digests are not kept and will be computed again");
    }
}

fn digest_one(model: &mut ModelInfo, dir: &Path, cached: &Cache) -> std::io::Result<Option<Digested>> {
    let found = match models::resolve(&model.name, dir) {
        Ok(found) => found,
        // Gone since it was listed.
        Err(_) => return Ok(None),
    };
    let models::NamedModel::File(path) = &found else {
        model.sha256 = models::digest_of(&found).ok();
        return Ok(None);
    };
    let metadata = fs::metadata(path)?;
    let known = cached.get(&model.name).filter(|known| {
        (known.size, known.changed_s, known.changed_ns)
            == (metadata.size(), metadata.ctime(), metadata.ctime_nsec())
    });
    if let Some(known) = known {
        return Ok(Some(known.clone()));
    }
    let sha256 = models::digest_of(&found)?;
    let (size, changed_s, changed_ns) = (metadata.size(), metadata.ctime(), metadata.ctime_nsec());
    Ok(Some(Digested { size, changed_s, changed_ns, sha256 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_computed_once_per_content() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("digests.json");
        fs::write(dir.path().join("clip.onnx"), b"abc").unwrap();
        let digests = || {
            let mut description = describe(&Root::live(), dir.path());
            assert!(description.models.iter().all(|model| model.sha256.is_none()));
            digest(&mut description, dir.path(), &cache);
            assert!(description.models.iter().all(|model| model.sha256.is_some()));
            let clip = description.models.into_iter().find(|model| model.name == "clip").unwrap();
            clip.sha256.unwrap()
        };
        assert!(digests().starts_with("ba7816bf"));
        // The cache is believed for an unchanged file...
        let text = fs::read_to_string(&cache).unwrap().replace("ba7816bf", "00000000");
        fs::write(&cache, text).unwrap();
        assert!(digests().starts_with("00000000"));
        // ... and for no other.
        fs::write(dir.path().join("clip.onnx"), b"abcd").unwrap();
        assert!(digests().starts_with("88d4266f"));
    }

    #[test]
    fn what_cannot_be_found_out_is_named() {
        let root = tempfile::tempdir().unwrap();
        let description = describe(&Root::open(root.path()).unwrap(), &root.path().join("models"));
        assert_eq!(description.board, None);
        assert!(description.absent.iter().any(|absent| absent.starts_with("board:")));
        assert!(description.absent.iter().any(|absent| absent.contains("models")));
        assert!(description.backends.iter().any(|backend| backend == "tract"));
    }
}
