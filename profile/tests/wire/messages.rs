//! The documentation's reader of envelopes.

use crate::{python, snippet};
use clipmark_profile::message::{Envelope, Epoch, Payload};
use clipmark_profile::topics::UpKind;
use std::path::{Path, PathBuf};
use std::process::Command;

fn envelope(sequence: u64, part: u16, parts: u16, content: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        version: Envelope::VERSION,
        epoch: Epoch(9),
        sequence,
        kind: UpKind::Profile,
        part,
        parts,
        command: Some("c42".parse().unwrap()),
        spooled_unix_ms: 1,
        content: content.to_vec(),
        former: Vec::new(),
    };
    envelope.to_bytes().unwrap()
}

#[test]
fn the_documentations_reader_puts_contents_together_whatever_the_order() {
    let Some(python) = python::with("cbor2") else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envelopes");
    std::fs::create_dir_all(&folder).unwrap();
    let envelopes = [
        envelope(4, 1, 2, b" second"),
        envelope(3, 0, 2, b"first"),
        envelope(4, 1, 2, b" second"),
        envelope(9, 1, 3, b"alone"),
    ];
    let files: Vec<PathBuf> = (0..).zip(&envelopes).map(|(n, _)| folder.join(format!("{n}.cbor"))).collect();
    for (file, bytes) in files.iter().zip(&envelopes) {
        std::fs::write(file, bytes).unwrap();
    }
    let output =
        Command::new(python).args(["-c", &snippet(0)]).args(&files).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, "profile-3.cbor of command c42\nprofile 8: 1 of 3 parts\n");
    assert_eq!(std::fs::read(folder.join("profile-3.cbor")).unwrap(), b"first second");
}
