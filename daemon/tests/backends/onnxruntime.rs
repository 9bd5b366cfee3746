//! ONNX Runtime beside tract in one profile. Needs the library of the PyPI package, which
//! `daemon/tests/onnx_reference.sh` installs; without it the test says so and, where
//! `CLIPMARK_REQUIRE_PYTHON=1`, fails.

use super::Machine;
use clipmark_daemon::backend::LIBRARY_VARIABLE;

#[test]
fn two_backends_share_one_profile_and_the_same_points() {
    let Some(library) = std::env::var_os(LIBRARY_VARIABLE) else {
        assert!(std::env::var_os("CLIPMARK_REQUIRE_PYTHON").is_none(), "{LIBRARY_VARIABLE} is not set");
        eprintln!("LEFT OUT: {LIBRARY_VARIABLE} names no library; run daemon/tests/onnx_reference.sh");
        return;
    };
    let machine = Machine::bare();
    let arguments = format!(
        "temporal --backend tract,onnxruntime --onnxruntime {} --batch-sizes 1,2 --clip-lengths 8 --iterations 30",
        library.display()
    );
    let (_, profile) = machine.run(&arguments, 0);
    let variants = profile["variants"].as_array().expect("variants");
    let backends: Vec<_> = variants.iter().map(|variant| &variant["backend"]).collect();
    assert_eq!(backends, ["tract", "onnxruntime"]);
    let points = profile["points"].as_array().expect("points");
    let of = |variant: u64| -> Vec<_> {
        points
            .iter()
            .filter(|point| point["id"]["variant"] == variant)
            .map(|point| &point["id"]["shape"])
            .collect()
    };
    assert_eq!((of(0).len(), of(0)), (2, of(1)), "the same points");
    for point in points {
        assert_eq!(point["status"], "measured", "{point:#}");
        assert_eq!(point["latency"]["iterations"], 30);
    }
    let record = &profile["backends"][1];
    assert!(record["device"].to_string().contains("CPUExecutionProvider"), "{record:#}");
    assert!(record["version"].as_str().is_some_and(|version| version.starts_with("1.")), "{record:#}");
    let chosen = profile["operating_points"].as_array().expect("operating points");
    assert!(chosen.iter().any(|row| row["chosen"].as_array().is_some_and(|points| !points.is_empty())));
}
