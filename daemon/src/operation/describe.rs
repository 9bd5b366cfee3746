//! What a device is: read in a child process, so that the daemon stays small and never waits for a disk.

use super::models;
use crate::backend;
use clipmark_probes::board::{Boards, Fingerprint};
use clipmark_probes::environment;
use clipmark_probes::root::Root;
use clipmark_profile::message::ModelInfo;
use clipmark_profile::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

/// A digest, and the files that it was taken of: same size and time of change, same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Digested {
    files: Vec<Stamp>,
    size: u64,
    sha256: String,
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    size: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let (changed_s, changed_ns) = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Self { path: path.into(), size: metadata.size(), changed_s, changed_ns })
    }

    fn is_unchanged(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| now == *self)
    }
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
                model.size = Some(Bytes(digested.size));
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
    let is_known = |known: &&Digested| {
        known.files.first().is_some_and(|file| file.path == *path)
            && known.files.iter().all(Stamp::is_unchanged)
    };
    if let Some(known) = cached.get(&model.name).filter(is_known) {
        return Ok(Some(known.clone()));
    }
    // Before it is read: what changes meanwhile is read again.
    let own = Stamp::of(path)?;
    let (identity, weights) = models::identity_of(path)?;
    let weights: Vec<Stamp> = weights.iter().map(|path| Stamp::of(path)).collect::<Result<_, _>>()?;
    let files = std::iter::once(own).chain(weights).collect();
    Ok(Some(Digested { files, size: identity.size.0, sha256: identity.sha256 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto};

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

    /// A model whose weights lie in `w.bin`, of which it needs this many bytes.
    fn with_weights(needed: u64) -> Vec<u8> {
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        let weights = TensorProto {
            external_data: vec![entry("location", "w.bin".into()), entry("length", needed.to_string())],
            ..TensorProto::default()
        };
        let graph = GraphProto {
            node: vec![NodeProto::default()],
            initializer: vec![weights],
            ..GraphProto::default()
        };
        ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    #[test]
    fn a_model_is_another_one_with_other_weights_and_none_without() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("digests.json");
        fs::write(dir.path().join("clip.onnx"), with_weights(4)).unwrap();
        let digests = || {
            let mut description = describe(&Root::live(), dir.path());
            digest(&mut description, dir.path(), &cache);
            let clip = description.models.into_iter().find(|model| model.name == "clip").unwrap();
            (clip, description.absent)
        };
        let weigh = |bytes: &str| fs::write(dir.path().join("w.bin"), bytes).unwrap();
        weigh("four");
        let (first, _) = digests();
        assert_eq!(first.size, Some(Bytes(with_weights(4).len() as u64 + 4)));
        weigh("more");
        let (second, _) = digests();
        assert!(second.sha256.is_some() && second.sha256 != first.sha256);
        weigh("cut");
        let (cut, absent) = digests();
        assert_eq!(cut.sha256, None);
        assert!(absent.iter().any(|what| what.contains("w.bin") && what.contains("cut short")), "{absent:?}");
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
