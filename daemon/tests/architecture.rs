//! Holds the dependency rules of docs/architecture.md against what cargo itself says.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::BTreeSet;

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
