//! ONNX Runtime beside tract in one profile, by the library of the PyPI package.

use crate::INSTALLER;
use crate::component::{Component, trials};
use crate::machine::Machine;
use clipmark_daemon::backend::LIBRARY_VARIABLE;
use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    let library = Component {
        is_here: std::env::var_os(LIBRARY_VARIABLE).is_some(),
        required_by: "CLIPMARK_REQUIRE_PYTHON",
        had_by: INSTALLER,
    };
    trials![&[library]; two_backends_share_one_profile_and_the_same_points]
}

fn two_backends_share_one_profile_and_the_same_points() {
    let library = std::env::var_os(LIBRARY_VARIABLE).unwrap();
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
