//! Built engines on disk, bounded, least recently used first out.
//!
//! An entry is trusted only when its header names the same key and its digest matches: anything else never
//! existed. Building takes minutes, so entries are written through a temporary file and renamed.

use crate::digest::sha256;
use clipmark_service::durable::{self, DiskError};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The first line of every entry; the number counts layouts of the file.
const MAGIC: &[u8] = b"clipmark engine 1\n";
const SUFFIX: &str = "engine";

/// What an entry tells beside the engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Header {
    /// Everything that shapes the engine, in words.
    pub(super) key: String,
    /// How long the build took, in milliseconds.
    pub(super) build_ms: u64,
    /// Layers in the network before fusion.
    pub(super) layers: u32,
    /// Remarks of the build.
    pub(super) remarks: Vec<String>,
}

/// The answer to a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The engine and what is known of it.
    Engine(Header, Vec<u8>),
    /// Nothing under this key.
    Nothing,
    /// Something under this key that cannot be trusted; it was removed.
    Corrupt,
}

/// A folder of engines.
#[derive(Debug, Clone)]
pub(super) struct EngineCache {
    folder: PathBuf,
    limit: u64,
}

impl EngineCache {
    /// The cache in `folder`, of at most `limit` bytes. Creates the folder.
    pub(super) fn open(folder: PathBuf, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, limit })
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{}.{SUFFIX}", &sha256(key.as_bytes())[..32]))
    }

    /// Looks up `key` and marks the entry as used.
    pub(super) fn get(&self, key: &str) -> Found {
        let path = self.path(key);
        let Ok(mut file) = File::open(&path) else { return Found::Nothing };
        match read_entry(&mut file, key) {
            Some((header, engine)) => {
                // A read-only cache still serves; only its order of eviction suffers.
                let _ = file.set_modified(SystemTime::now());
                Found::Engine(header, engine)
            }
            None => {
                self.remove(key);
                Found::Corrupt
            }
        }
    }

    /// Removes the entry of `key`, e.g. because TensorRT does not take it.
    pub(super) fn remove(&self, key: &str) {
        // What cannot be removed fails its check again next time.
        let _ = fs::remove_file(self.path(key));
    }

    /// Stores an engine and evicts the least recently used ones over the limit; never this one. Tells how
    /// many were evicted.
    pub(super) fn put(&self, header: &Header, engine: &[u8]) -> io::Result<usize> {
        let path = self.path(&header.key);
        // Should two processes ever write one entry at once, its digest tells.
        let written = durable::replace_with(&path, |file| {
            write_entry(file, header, engine).map_err(DiskError::of("write", &path))
        });
        written.map_err(|error| error.source)?;
        self.evict(&path)
    }

    fn evict(&self, keep: &Path) -> io::Result<usize> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == SUFFIX) {
                let data = entry.metadata()?;
                entries.push((data.modified()?, data.len(), entry.path()));
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        let mut evicted = 0;
        for (_, size, path) in entries.iter().filter(|(_, _, path)| path != keep) {
            if total <= self.limit {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
            evicted += 1;
        }
        Ok(evicted)
    }
}

fn write_entry(mut file: &File, header: &Header, engine: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    file.write_all(MAGIC)?;
    file.write_all(&(header.len() as u32).to_le_bytes())?;
    file.write_all(&header)?;
    file.write_all(&Sha256::digest(engine))?;
    file.write_all(engine)
}

fn read_entry(file: &mut File, key: &str) -> Option<(Header, Vec<u8>)> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (header, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let header: Header = serde_json::from_slice(header).ok()?;
    let (digest, engine) = rest.split_first_chunk::<32>()?;
    (header.key == key && Sha256::digest(engine)[..] == digest[..]).then(|| (header, engine.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn header(key: &str) -> Header {
        Header { key: key.into(), build_ms: 1200, layers: 3, remarks: vec!["kept".into()] }
    }

    fn cache(limit: u64) -> (tempfile::TempDir, EngineCache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = EngineCache::open(folder.path().join("engines"), limit).expect("a writable folder");
        (folder, cache)
    }

    #[test]
    fn an_engine_is_found_again_under_its_key_alone() {
        let (_folder, cache) = cache(1 << 20);
        cache.put(&header("a"), b"engine").expect("written");
        assert_eq!(cache.get("a"), Found::Engine(header("a"), b"engine".to_vec()));
        assert_eq!(cache.get("b"), Found::Nothing);
    }

    #[test]
    fn a_changed_or_truncated_entry_is_removed_and_never_served() {
        let (_folder, cache) = cache(1 << 20);
        cache.put(&header("a"), b"engine").expect("written");
        let whole = fs::read(cache.path("a")).expect("an entry");
        for length in 0..whole.len() {
            fs::write(cache.path("a"), &whole[..length]).expect("writable");
            assert_eq!(cache.get("a"), Found::Corrupt, "{length} bytes");
            assert_eq!(cache.get("a"), Found::Nothing);
        }
        let mut changed = whole.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        fs::write(cache.path("a"), changed).expect("writable");
        assert_eq!(cache.get("a"), Found::Corrupt);
    }

    #[test]
    fn an_entry_of_another_key_under_the_same_name_is_not_served() {
        let (_folder, cache) = cache(1 << 20);
        cache.put(&header("a"), b"engine").expect("written");
        fs::rename(cache.path("a"), cache.path("b")).expect("renamed");
        assert_eq!(cache.get("b"), Found::Corrupt);
    }

    #[test]
    fn the_least_recently_used_engines_go_first_and_the_newest_stays() {
        let (_folder, cache) = cache(2_500);
        let age = |key: &str, seconds| {
            let then = SystemTime::now() - Duration::from_secs(seconds);
            File::options()
                .append(true)
                .open(cache.path(key))
                .and_then(|f| f.set_modified(then))
                .expect("set");
        };
        cache.put(&header("old"), &[0; 1000]).expect("written");
        age("old", 100);
        cache.put(&header("older"), &[0; 1000]).expect("written");
        age("older", 200);
        assert!(matches!(cache.get("older"), Found::Engine(..)), "used now, so no longer the oldest");
        assert_eq!(cache.put(&header("new"), &[0; 1000]).expect("written"), 1);
        assert_eq!(cache.get("old"), Found::Nothing);
        assert!(matches!(cache.get("older"), Found::Engine(..)));
        assert_eq!(cache.put(&header("huge"), &[0; 4000]).expect("written"), 2);
        assert!(matches!(cache.get("huge"), Found::Engine(..)), "what was just built is kept");
    }
}
