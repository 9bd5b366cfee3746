//! Holds the dependency rules of docs/architecture.md against what cargo itself says.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folders of the crates that have modules.
const CRATES: [&str; 7] =
    ["profile", "profile/report", "probes", "daemon", "daemon/service", "daemon/trt", "fleet"];

fn workspace_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs in this workspace");
    metadata.packages
}

fn dependencies<'a>(packages: &'a [Package], name: &str) -> BTreeSet<&'a str> {
    let package = packages.iter().find(|p| p.name == name).expect("the crate exists");
    let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
    normal.map(|d| d.name.as_str()).collect()
}

#[test]
fn crates_depend_only_downwards() {
    let packages = workspace();
    let allowed: [(&str, &[&str]); 8] = [
        ("clipmark-profile", &[]),
        ("clipmark-report", &["clipmark-profile"]),
        ("clipmark-probes", &["clipmark-profile"]),
        ("clipmark-trt", &[]),
        ("clipmark-service", &["clipmark-profile"]),
        (
            "clipmarkd",
            &["clipmark-profile", "clipmark-report", "clipmark-probes", "clipmark-service", "clipmark-trt"],
        ),
        ("clipmark-proof", &["clipmark-profile", "clipmark-probes", "clipmarkd"]),
        ("clipmark-fleet", &["clipmark-profile", "clipmark-report", "clipmark-service"]),
    ];
    let own: BTreeSet<&str> = allowed.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in allowed {
        for dependency in dependencies(&packages, name) {
            let fine = !own.contains(dependency) || allowed.contains(&dependency);
            assert!(fine, "{name} must not depend on {dependency}: see docs/architecture.md");
        }
    }
}

#[test]
fn the_profile_crate_stays_pure() {
    let packages = workspace();
    let impure = ["tokio", "tracing", "rustix", "libc", "rumqttc", "tract-onnx", "reqwest", "rusqlite"];
    for dependency in dependencies(&packages, "clipmark-profile") {
        assert!(!impure.contains(&dependency), "clipmark-profile is pure and must not use {dependency}");
    }
}

#[test]
fn every_crate_inherits_the_workspace_lints_and_toolchain() {
    for package in workspace() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("the manifest is readable");
        for line in ["rust-version.workspace = true", "edition.workspace = true"] {
            assert!(manifest.contains(line), "{} lacks `{line}`", package.name);
        }
        // Only the TensorRT binding and its fakes may hold unsafe code, so only they may set lints themselves.
        let inherits = manifest.contains("[lints]\nworkspace = true");
        let may_opt_out = package.manifest_path.as_str().contains("daemon/trt");
        assert!(inherits || may_opt_out, "{} does not inherit the workspace lints", package.name);
    }
}

/// The text of a module without comments and without its tests, which may look at anything.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("the source is readable");
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every Rust file below a folder, or the file itself.
fn files(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("the folder is readable") {
            files(&entry.expect("the folder is readable").path(), into);
        }
    } else if path.extension().is_some_and(|end| end == "rs") {
        into.push(path.to_owned());
    }
}

fn sources(path: &Path, into: &mut String) {
    let mut all = Vec::new();
    files(path, &mut all);
    let is_test =
        |path: &Path| path.file_stem().is_some_and(|stem| stem == "tests" || stem == "test_support");
    let is_in_tests = |path: &Path| path.parent().is_some_and(|parent| parent.ends_with("tests"));
    for path in all.iter().filter(|path| !is_test(path) && !is_in_tests(path)) {
        into.push_str(&code(path));
    }
}

/// The modules of a crate with those that each of them uses.
fn modules(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for entry in std::fs::read_dir(src).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        if !["lib", "main"].contains(&name.as_str()) {
            sources(&path, texts.entry(name).or_default());
        }
    }
    let names: BTreeSet<String> = texts.keys().cloned().collect();
    let used = |own: &String, text: &String| {
        let places = text.split("crate::").skip(1);
        let word =
            |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        // `use crate::{a, b::c}` names several.
        let several = |rest: &str| match rest.strip_prefix('{') {
            Some(list) => {
                list.split(['}']).next().unwrap_or_default().split(',').map(|one| word(one.trim())).collect()
            }
            None => vec![word(rest)],
        };
        let found = places.flat_map(several).filter(|name| names.contains(name) && name != own);
        (own.clone(), found.collect())
    };
    texts.iter().map(|(own, text)| used(own, text)).collect()
}

fn reaches(all: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(name) = open.pop() {
        for next in &all[name] {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

#[test]
fn modules_use_each_other_in_one_direction() {
    for name in CRATES {
        let all = modules(&workspace_dir().join(name).join("src"));
        assert!(all.len() > 1, "{name} has modules");
        let circle: BTreeSet<&str> =
            all.keys().filter(|own| reaches(&all, own, own)).map(String::as_str).collect();
        assert!(
            circle.is_empty(),
            "{name}: {circle:?} are in a circle of modules; move what both need out of them"
        );
    }
}

#[test]
fn unit_tests_are_in_the_module_tests_which_has_a_file_of_its_own_where_it_is_long() {
    /// Lines of tests that may stand below what they test, and that a file of their own has at least.
    const LONGEST: usize = 140;
    const SHORTEST: usize = 60;
    for name in CRATES {
        let mut all = Vec::new();
        files(&workspace_dir().join(name).join("src"), &mut all);
        assert!(!all.is_empty(), "{name} has sources");
        for path in all {
            let text = std::fs::read_to_string(&path).expect("the source is readable");
            let stem = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
            let path = path.display();
            assert!(!stem.ends_with("_tests"), "{path}: tests go into the module `tests` of what they test");
            if let Some((_, tests)) = text.split_once("#[cfg(test)]\nmod tests {\n") {
                assert!(tests.lines().count() <= LONGEST, "{path}: move its tests into a file tests.rs");
            }
            let is_long =
                text.lines().count() >= SHORTEST || text.contains("\nmod ") || text.starts_with("mod ");
            assert!(stem != "tests" || is_long, "{path}: move these tests below what they test");
        }
    }
}

/// The bodies of the functions that the standard harness runs.
fn tests(text: &str) -> Vec<&str> {
    let body = |rest: &'_ str| -> usize {
        let indent = rest.lines().nth(1).map_or(0, |line| line.len() - line.trim_start().len());
        let end = format!("\n{}}}\n", " ".repeat(indent));
        rest.find(&end).unwrap_or(rest.len())
    };
    text.split("#[test]\n").skip(1).map(|rest| &rest[..body(rest)]).collect()
}

/// Whether something printed begins like an excuse.
fn excuses_itself(text: &str) -> bool {
    let excuses = ["not run", "left out", "not compared", "nothing checked", "skipped", "ignored"];
    let printed = text.split("println!(").skip(1).map(|rest| rest.trim_start().trim_start_matches('"'));
    printed.map(str::to_lowercase).any(|said| excuses.iter().any(|excuse| said.starts_with(excuse)))
}

/// A test that lacks something is a trial that is ignored (profile/tests/common/component.rs): one that returns
/// early passes.
#[test]
fn no_test_passes_without_having_been_run() {
    let mut all = Vec::new();
    for name in CRATES {
        files(&workspace_dir().join(name).join("src"), &mut all);
        files(&workspace_dir().join(name).join("tests"), &mut all);
    }
    let mut found = 0;
    for path in all {
        let text = std::fs::read_to_string(&path).expect("the source is readable");
        let path = path.display();
        for test in tests(&text) {
            found += 1;
            assert!(!test.contains("return;") && !test.contains("{ return }"), "{path}: {test}");
        }
        assert!(!excuses_itself(&text), "{path}: what is not run is ignored, not excused");
    }
    assert!(found > 500, "{found} tests were looked at");
}
