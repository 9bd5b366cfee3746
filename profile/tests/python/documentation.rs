//! The readers that docs/wire.md gives.

use crate::component::trials;
use crate::python;
use crate::vectors::{path, vector};
use clipmark_profile::message::{Envelope, Epoch, Payload};
use clipmark_profile::summary::Profile;
use clipmark_profile::topics::UpKind;
use clipmark_profile::wire;
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODULES: &str = "cbor2";

pub(crate) fn trials() -> Vec<Trial> {
    trials![&[python::component(MODULES)];
        the_documentations_decoder_gives_the_same_figures_bit_for_bit,
        the_documentations_reader_of_comparable_figures_finds_those_of_every_point,
        the_documentations_reader_puts_contents_together_whatever_the_order,
    ]
}

/// The Python block of docs/wire.md with this index.
fn snippet(index: usize) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wire.md");
    let text = std::fs::read_to_string(document).expect("docs/wire.md is there");
    let block = text.split("```python\n").nth(index + 1).expect("it has that many Python blocks");
    block.split_once("```").expect("the block ends").0.to_owned()
}

fn line(profile: &Profile, index: usize) -> Option<(String, f64, f64, f64)> {
    let point = &profile.points[index];
    let latency = point.latency.as_ref()?;
    Some((latency.iterations.to_string(), latency.mean_ns, latency.p50_ns, latency.p99_ns?))
}

fn the_documentations_decoder_gives_the_same_figures_bit_for_bit() {
    let python = python::with(MODULES);
    let text = python::run(&python, &snippet(1), &[&path("v1-profile.cbor")]);
    let profile = wire::decode_profile(&vector("v1-profile.cbor")).unwrap();
    assert_eq!(text.lines().count(), 31);
    for (index, printed) in text.lines().skip(1).enumerate() {
        let fields: Vec<&str> = printed.split(',').collect();
        let Some((n, mean, p50, p99)) = line(&profile, index) else {
            assert_eq!(fields.len(), 5, "{printed}");
            continue;
        };
        assert_eq!(fields[5], n);
        let figures: Vec<f64> = fields[6..9].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(figures, [mean, p50, p99], "{printed}");
    }
}

fn the_documentations_reader_of_comparable_figures_finds_those_of_every_point() {
    let python = python::with(MODULES);
    let script = format!(
        "import sys, cbor2\n{}\nfor index, own in comparable(cbor2.load(open(sys.argv[1], 'rb'))).items():\n    \
         print(index, *own, sep=',')",
        snippet(2)
    );
    let text = python::run(&python, &script, &[&path("v1-profile-drifted.cbor")]);
    let profile = wire::decode_profile(&vector("v1-profile-drifted.cbor")).unwrap();
    assert_eq!(text.lines().count(), profile.points.len());
    for printed in text.lines() {
        let fields: Vec<f64> = printed.split(',').map(|field| field.parse().unwrap()).collect();
        let own = profile.points[fields[0] as usize].comparable.unwrap();
        assert_eq!(fields[1..], [own.mean_ns, own.frames_per_s], "{printed}");
    }
    // A board that held still has none.
    assert_eq!(python::run(&python, &script, &[&path("v1-profile-27-points.cbor")]), "");
}

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

fn the_documentations_reader_puts_contents_together_whatever_the_order() {
    let python = python::with(MODULES);
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
