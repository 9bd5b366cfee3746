use super::{Deadline, Limits, Load, Mode, Plan, PlanError, Request, UsableVariant};
use crate::axis::{Axis, AxisValue};
use crate::point::{Precision, Shape, Variant};
use crate::units::Nanos;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

fn usable(model: &str, clip_length: Option<u32>, batch_size: Option<u32>) -> UsableVariant {
    let fixed = [(Axis::ClipLength, clip_length), (Axis::BatchSize, batch_size)];
    let fixed = fixed.into_iter().filter_map(|(axis, size)| Some((axis, size?))).collect();
    UsableVariant { variant: Variant::new(model, "tract"), fixed }
}

fn expand(request: Request) -> Result<Plan, PlanError> {
    Plan::expand(request, vec![usable("m", None, None)], &Limits::default())
}

fn refusal(request: Request) -> String {
    expand(request).unwrap_err().to_string()
}

#[test]
fn the_default_request_is_the_default_grid() {
    let plan = expand(Request::default()).unwrap();
    assert_eq!(plan.points.len(), 15);
    assert_eq!(plan.points[0].shape, Shape::new(1, 8).unwrap());
    assert_eq!(plan.points[14].shape, Shape::new(4, 128).unwrap());
}

#[test]
fn a_fixed_axis_replaces_the_requested_values() {
    let variants = vec![usable("free", None, None), usable("fixed", Some(16), Some(1))];
    let plan = Plan::expand(Request::default(), variants, &Limits::default()).unwrap();
    let fixed: Vec<Shape> = plan.points.iter().filter(|id| id.variant == 1).map(|id| id.shape).collect();
    assert_eq!(fixed, vec![Shape::new(1, 16).unwrap()]);
}

#[test]
fn repeated_and_unsorted_values_are_one_ascending_axis() {
    let request = Request { clip_lengths: vec![32, 8, 32], batch_sizes: vec![2, 2], ..Request::default() };
    let frames: Vec<u32> = expand(request).unwrap().points.iter().map(|id| id.shape.clip()).collect();
    assert_eq!(frames, vec![8, 32]);
}

fn asked() -> Request {
    Request {
        precisions: vec![Precision::Fp32, Precision::Fp16],
        threads: vec![4, 1, 4],
        ..Request::default()
    }
}

#[test]
fn variants_are_the_product_of_the_lists_with_what_is_dear_to_change_outermost() {
    let models = vec![usable("a", None, None), usable("b", Some(16), None)];
    let all = UsableVariant::expand(models, &asked());
    let named: Vec<String> = all.iter().map(|usable| usable.variant.to_string()).collect();
    let of = |model: &str| {
        ["fp32, 4 threads", "fp32", "fp16, 4 threads", "fp16"]
            .map(|rest| format!("{model} on tract ({rest})"))
    };
    assert_eq!(named, [of("a"), of("b")].concat());
    assert!(all[4..].iter().all(|usable| usable.fixed == [(Axis::ClipLength, 16)]));
}

#[test]
fn what_is_asked_of_every_axis_is_read_back() {
    let mut copy = Request::default();
    for axis in Axis::ALL {
        copy.ask(axis, &asked().values(axis));
    }
    assert_eq!(copy, asked());
    for axis in Axis::ALL.into_iter().filter(|axis| axis.row().request_key.is_none()) {
        assert_eq!(asked().values(axis), Vec::<AxisValue>::new(), "{axis}");
    }
}

#[test]
fn a_single_value_may_be_written_without_a_list() {
    let read = |text: &str| serde_json::from_str::<Request>(text);
    let one = read(r#"{"precision": "fp16", "threads": 4}"#).unwrap();
    assert_eq!(one, read(r#"{"precisions": ["fp16"], "threads": [4]}"#).unwrap());
    assert_eq!((one.precisions, one.threads), (vec![Precision::Fp16], vec![4]));
    for wrong in [
        r#"{"precision": "fp16", "precisions": ["fp32"]}"#,
        r#"{"precision": "fp17"}"#,
        r#"{"threads": -1}"#,
        r#"{"threads": [[1]]}"#,
        r#"{"streams": -1}"#,
        r#"{"streams": "many"}"#,
        r#"{"soak_points": [{"batch_size": 1, "clip_length": 0}]}"#,
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_precision_of_a_later_version_cannot_be_asked_for() {
    let request = Request { precisions: vec![Precision::Unknown], ..Request::default() };
    assert!(refusal(request).starts_with("precisions = unknown is outside one of model, fp32"));
}

#[test]
fn backend_options_are_bounded_in_number_and_length() {
    let options = |pairs: Vec<(String, String)>| Request {
        backend_options: pairs.into_iter().collect(),
        ..Request::default()
    };
    let many = (0..33).map(|number| (number.to_string(), String::new())).collect();
    assert!(refusal(options(many)).starts_with("backend_options (count) = 33 is outside 0 to 32"));
    let long = options(vec![("profile_min".into(), "x".repeat(1025))]);
    assert!(refusal(long).starts_with("backend_options (length of a value) = 1025"));
    let nameless = options(vec![(String::new(), "true".into())]);
    assert!(refusal(nameless).starts_with("backend_options (length of a name) = 0"));
    assert!(expand(options(vec![("cuda_graph".into(), "true".into())])).is_ok());
}

#[test]
fn numbers_out_of_range_are_refused_with_field_value_and_range() {
    let zero_batch = Request { batch_sizes: vec![1, 0], ..Request::default() };
    assert_eq!(refusal(zero_batch), "batch_sizes = 0 is outside 1 to 1024; choose a value inside it");
    let no_clip = Request { clip_lengths: Vec::new(), ..Request::default() };
    assert!(refusal(no_clip).starts_with("clip_lengths (count) = 0 is outside 1 to 64"));
    for request in [
        Request { fps: Some(0.0), ..Request::default() },
        Request { fps: Some(f64::NAN), ..Request::default() },
        Request { deadline_ms: Some(-1.0), ..Request::default() },
        Request { budget_s: Some(f64::INFINITY), ..Request::default() },
        Request { iterations: Some(0), ..Request::default() },
        Request { threads: vec![0], ..Request::default() },
        Request { memory_limit_bytes: Some(1), ..Request::default() },
        Request { clip_lengths: vec![1_000_000], ..Request::default() },
        Request { inference_limit_s: 0.0, ..Request::default() },
        Request { backends: Vec::new(), ..Request::default() },
    ] {
        assert!(matches!(expand(request.clone()), Err(PlanError::OutOfRange { .. })), "{request:?}");
    }
}

#[test]
fn every_number_that_costs_something_has_a_limit_of_its_own() {
    let limits = Limits {
        max_models: 1,
        max_points: 15,
        max_clip_length: 128,
        max_batch_size: 4,
        max_threads: 1,
        max_iterations: 10,
        max_budget_s: 10.0,
        max_soak_s: 10.0,
        max_prepare_s: 120.0,
        max_inference_s: 30.0,
        max_memory_bytes: 1 << 30,
        max_abort_celsius: Some(80.0),
    };
    let expand = |request: Request| Plan::expand(request, vec![usable("m", None, None)], &limits);
    assert!(expand(Request::default()).is_ok());
    let point = |batch_size, clip_length| vec![Shape::new(batch_size, clip_length).unwrap()];
    let ask = Request::default;
    for (field, request) in [
        ("models", Request { models: vec!["a".into(), "b".into()], ..ask() }),
        ("points", Request { clip_lengths: (1..=6).collect(), ..ask() }),
        ("clip_lengths", Request { clip_lengths: vec![129], ..ask() }),
        ("batch_sizes", Request { batch_sizes: vec![5], ..ask() }),
        ("soak_points.clip_length", Request { soak_points: point(1, 129), ..ask() }),
        ("soak_points.batch_size", Request { soak_points: point(5, 1), ..ask() }),
        ("threads", Request { threads: vec![1, 2], ..ask() }),
        ("iterations", Request { iterations: Some(11), ..ask() }),
        ("budget_s", Request { budget_s: Some(10.5), ..ask() }),
        ("soak_s", Request { soak_s: Some(10.5), ..ask() }),
        ("prepare_limit_s", Request { prepare_limit_s: 121.0, ..ask() }),
        ("inference_limit_s", Request { inference_limit_s: 31.0, ..ask() }),
        ("memory_limit_bytes", Request { memory_limit_bytes: Some(2 << 30), ..ask() }),
        ("abort_celsius", Request { abort_celsius: Some(80.5), ..ask() }),
    ] {
        let error = expand(request).unwrap_err();
        assert!(matches!(&error, PlanError::OutOfRange { field: named, .. } if *named == field), "{error}");
    }
}

#[test]
fn of_two_sets_of_limits_the_lower_of_each_holds() {
    let ours = Limits { max_points: 100, max_clip_length: 64, ..Limits::default() };
    let theirs =
        Limits { max_points: 10, max_clip_length: 1000, max_abort_celsius: Some(70.0), ..Limits::default() };
    let both = ours.tightened(&theirs);
    assert_eq!((both.max_points, both.max_clip_length, both.max_abort_celsius), (10, 64, Some(70.0)));
    assert_eq!(both, theirs.tightened(&ours));
    assert_eq!(ours.tightened(&Limits::default()), ours);
}

#[test]
fn a_digest_must_be_one_per_model_and_look_like_one() {
    let with = |digests: Vec<String>| Request { models: vec!["m".into()], digests, ..Request::default() };
    assert!(expand(with(Vec::new())).is_ok());
    assert!(expand(with(vec!["a".repeat(64)])).is_ok());
    assert!(refusal(with(vec!["a".repeat(63)])).contains("64 hexadecimal digits"));
    assert!(refusal(with(vec!["a".repeat(64), "b".repeat(64)])).starts_with("digests (count) = 2"));
}

#[test]
fn contradictions_are_refused_by_naming_both_fields() {
    let both = Request { deadline_ms: Some(10.0), fps: Some(30.0), ..Request::default() };
    assert_eq!(refusal(both), "deadline_ms and fps exclude each other; give one of them");
    let counts = Request { exhaustive: true, iterations: Some(10), ..Request::default() };
    assert_eq!(refusal(counts), "exhaustive and iterations exclude each other; give one of them");
}

#[test]
fn what_another_field_requires_is_named_with_the_reason() {
    let paced = Request { load: Load::Paced, ..Request::default() };
    assert_eq!(refusal(paced), "a paced load needs the stream's rate: give fps, e.g. 30");
    let soak = Request { mode: Mode::Soak, ..Request::default() };
    assert!(refusal(soak.clone()).contains("give soak_points"));
    let point = Shape::new(1, 16).unwrap();
    assert!(expand(Request { soak_points: vec![point], ..soak }).is_ok());
}

#[test]
fn more_points_than_the_limit_are_refused() {
    let request =
        Request { clip_lengths: (1..=60).collect(), batch_sizes: (1..=10).collect(), ..Request::default() };
    assert_eq!(refusal(request), "points = 600 is outside 1 to 512; choose a value inside it");
}

#[test]
fn a_stream_gives_longer_clips_a_longer_deadline() {
    let at = |clip_length| Shape::new(4, clip_length).unwrap();
    assert_eq!(Deadline::Fps(25.0).at(at(50)), Some(Nanos::from_secs(2)));
    assert_eq!(Deadline::PerInference(Nanos(7)).at(at(50)), Some(Nanos(7)));
    assert_eq!(Deadline::None.at(at(50)), None);
    let request = Request { deadline_ms: Some(12.5), ..Request::default() };
    assert_eq!(request.deadline(), Deadline::PerInference(Nanos(12_500_000)));
}

#[test]
fn unknown_fields_of_a_request_are_errors() {
    assert!(serde_json::from_str::<Request>(r#"{"clip_lengths":[8]}"#).is_ok());
    let error = serde_json::from_str::<Request>(r#"{"clip_length":[8]}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `clip_length`"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_plan_holds_every_requested_point_once_in_grid_order(
        clips in proptest::collection::vec(1..200_u32, 1..8),
        batches in proptest::collection::vec(1..40_u32, 1..6),
    ) {
        let request =
            Request { clip_lengths: clips.clone(), batch_sizes: batches.clone(), ..Request::default() };
        let plan = expand(request).unwrap();
        prop_assert!(plan.points.is_sorted());
        let mut distinct = plan.points.clone();
        distinct.dedup();
        prop_assert_eq!(&distinct, &plan.points);
        for &clip in &clips {
            for &batch in &batches {
                let at = Shape::new(batch, clip).unwrap();
                prop_assert!(plan.points.iter().any(|id| id.shape == at));
            }
        }
    }

    #[test]
    fn a_request_survives_its_json(seed: u64, centi_fps in proptest::option::of(1..100_000_u32), exhaustive: bool) {
        let fps = centi_fps.map(|centi| f64::from(centi) / 100.0);
        let request = Request { seed, fps, exhaustive, ..Request::default() };
        let text = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    }
}
