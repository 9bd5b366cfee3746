use super::*;
use crate::model::hints::HintArgs;
use crate::model::weights::Identity;
use clipmark_profile::units::Bytes;
use std::collections::BTreeMap;

/// A model with inputs written as they are displayed, e.g. `video: f32[batch,frames,3,64,64]`.
fn model(inputs: &[&str]) -> OnnxModel {
    let input = |text: &&str| {
        let (name, rest) = text.split_once(": ").unwrap();
        let (dtype, dims) = rest.trim_end_matches(']').split_once('[').unwrap();
        let dtype = match dtype {
            "f32" => DeclaredDtype::Known(Dtype::F32),
            "i64" => DeclaredDtype::Known(Dtype::I64),
            "u8" => DeclaredDtype::Known(Dtype::U8),
            "bool" => DeclaredDtype::Known(Dtype::Bool),
            other => DeclaredDtype::Other(other.into()),
        };
        let dim = |text: &str| match text.parse() {
            Ok(size) => DeclaredDim::Fixed(size),
            Err(_) if text == "?" => DeclaredDim::Unnamed,
            Err(_) => DeclaredDim::Symbol(text.into()),
        };
        DeclaredTensor { name: name.into(), dtype, dims: Some(dims.split(',').map(dim).collect()) }
    };
    OnnxModel {
        inputs: inputs.iter().map(input).collect(),
        outputs: Vec::new(),
        parameters: 0,
        own: Identity { sha256: String::new(), size: Bytes(0) },
        opset: 17,
        producer: String::new(),
        vocabularies: BTreeMap::new(),
        external_data: BTreeMap::new(),
    }
}

fn find(inputs: &[&str], hints: &str) -> Result<ModelShape, String> {
    let hints = toml::from_str(hints).unwrap();
    ModelShape::find(&model(inputs), &hints).map_err(|error| error.to_string())
}

/// Axes per input, then the fixed batch size and clip length.
fn check(inputs: &[&str], hints: &str, axes: &[&str], batch: Option<u32>, frames: Option<u32>) {
    let shape = find(inputs, hints).unwrap();
    let shown = |input: &InputShape| input.axes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(shape.inputs.iter().map(shown).collect::<Vec<_>>(), axes, "{:?}", shape.findings);
    assert_eq!((shape.fixed_batch_size, shape.fixed_clip_length), (batch, frames), "{:?}", shape.findings);
}

#[test]
fn axes_are_found_from_symbolic_names_in_any_order_and_input() {
    check(
        &["video: f32[batch,frames,3,64,64]", "text: i64[batch,16]"],
        "",
        &["batch,frames,3,64,64", "batch,16"],
        None,
        None,
    );
    check(&["x: f32[B,3,T,112,112]"], "", &["batch,3,frames,112,112"], None, None);
    check(&["x: f32[N,num_frames,3,224,224]"], "", &["batch,frames,3,224,224"], None, None);
    check(&["x: f32[frames,3,224,224]"], "", &["frames,3,224,224"], Some(1), None);
    for name in ["batch_frames", "bt", "batch_size_x_num_frames"] {
        check(&[&format!("x: f32[{name},3,224,224]")], "", &["batch*frames,3,224,224"], None, None);
    }
}

#[test]
fn unnamed_axes_of_videos_and_images_are_found_from_the_layout() {
    check(&["x: f32[?,?,3,64,64]"], "", &["batch,frames,3,64,64"], None, None);
    check(&["x: f32[p,3,q,64,64]"], "", &["batch,3,frames,64,64"], None, None);
    check(&["x: u8[?,?,64,64,3]"], "", &["batch,frames,64,64,3"], None, None);
    check(&["x: f32[?,3,64,64]"], "", &["batch,3,64,64"], None, Some(1));
    check(&["x: f32[unk__1,43844,1]"], "", &["batch,43844,1"], None, Some(1));
}

#[test]
fn fixed_axes_become_the_only_value_of_their_role() {
    check(&["x: f32[1,16,3,224,224]"], "", &["batch,frames,3,224,224"], Some(1), Some(16));
    check(&["flow: f32[1,2,8,16,16]"], "", &["batch,2,frames,16,16"], Some(1), Some(8));
    check(&["x: f32[batch,3,16,112,112]"], "", &["batch,3,frames,112,112"], None, Some(16));
    check(&["x: f32[2,3,224,224]"], "", &["batch,3,224,224"], Some(2), Some(1));
    check(
        &["x: f32[1,512]", "state: f32[2,1,128]"],
        "[inputs.state]\naxes = \"2, 1, 128\"",
        &["1,512", "2,1,128"],
        Some(1),
        Some(1),
    );
}

#[test]
fn a_sequence_is_the_frames_axis_only_where_nothing_else_is() {
    check(&["audio: f32[batch,samples]"], "", &["batch,frames"], None, None);
    check(
        &["ids: i64[batch,sequence]", "mask: i64[batch,sequence]"],
        "",
        &["batch,frames", "batch,frames"],
        None,
        None,
    );
    let error = find(&["video: f32[B,T,3,8,8]", "text: i64[B,sequence]"], "").unwrap_err();
    assert!(error.contains("`sequence`") && error.contains("--size sequence="), "{error}");
}

#[test]
fn hints_give_sizes_products_and_whole_inputs() {
    check(
        &["x: f32[batch,3,height,width]"],
        "[sizes]\nheight = 320\nwidth = 640",
        &["batch,3,320,640"],
        None,
        Some(1),
    );
    check(
        &["a: f32[batch,samples]"],
        "[inputs.a]\naxes = \"batch, frames*160\"",
        &["batch,frames*160"],
        None,
        None,
    );
    check(
        &["x: f32[?,3,64,64]"],
        "[inputs.x]\naxes = \"batch*frames, 3, 64, 64\"",
        &["batch*frames,3,64,64"],
        None,
        None,
    );
    check(
        &["x: f32[1,800]"],
        "[inputs.x]\naxes = \"batch, frames*160\"",
        &["batch,frames*160"],
        Some(1),
        Some(5),
    );
}

#[test]
fn a_shape_follows_the_grid_point() {
    let shape = find(&["a: f32[batch,samples]"], "[inputs.a]\naxes = \"batch, frames*160\"").unwrap();
    assert_eq!(shape.at(Shape::new(4, 3).unwrap()).unwrap()[0].shape, [4, 480]);
}

#[test]
fn frames_are_counted_by_the_pathway_that_has_most_of_them() {
    let slow_and_fast = ["slow: f32[batch,3,frames,8,8]", "fast: f32[batch,3,4*frames,8,8]"];
    check(&slow_and_fast, "", &["batch,3,frames/4,8,8", "batch,3,frames,8,8"], None, None);
    let shape = find(&slow_and_fast, "").unwrap();
    let at = |frames| shape.at(Shape::new(2, frames).unwrap());
    let inputs = at(16).unwrap();
    assert_eq!([inputs[0].shape[2], inputs[1].shape[2]], [4, 16]);
    assert_eq!([inputs[0].frames, inputs[1].frames], [Some(2), Some(2)]);
    let failure = at(6).unwrap_err();
    assert_eq!(failure.cause, Cause::ImpossibleShape);
    assert!(failure.message.contains("`slow` is frames/4"), "{}", failure.message);
    // Exporters number their axes; those of slow and fast tell each other.
    check(
        &["fast: f32[s0,3,4*s1,8,8]", "slow: f32[s0,3,s1,8,8]"],
        "",
        &["batch,3,frames,8,8", "batch,3,frames/4,8,8"],
        None,
        None,
    );
    check(
        &["slow: f32[1,3,8,8,8]", "fast: f32[1,3,32,8,8]"],
        "",
        &["1,3,8,8,8", "batch,3,frames,8,8"],
        Some(1),
        Some(32),
    );
    check(
        &["slow: f32[?,3,?,8,8]", "fast: f32[?,3,?,8,8]"],
        "[inputs.slow]\naxes = \"batch, 3, frames/4, 8, 8\"",
        &["batch,3,frames/4,8,8", "batch,3,frames,8,8"],
        None,
        None,
    );
}

#[test]
fn samples_of_sound_and_pictures_of_one_input_are_not_counted_as_frames() {
    check(
        &["video: f32[batch,3,frames,8,8]", "sound: f32[batch,frames*160]"],
        "",
        &["batch,3,frames,8,8", "batch,frames*160"],
        None,
        None,
    );
    check(&["x: f32[batch,frames*2,3,8,8]"], "", &["batch,frames*2,3,8,8"], None, None);
}

#[test]
fn an_axis_is_an_expression_of_names_and_a_name_that_is_a_number_is_no_size() {
    check(&["x: f32[B,3,4*T+1,8,8]"], "", &["batch,3,frames*4+1,8,8"], None, None);
    let mut numbered = model(&["x: f32[?,3,?,8,8]"]);
    let dims = numbered.inputs[0].dims.as_mut().unwrap();
    (dims[0], dims[2]) = (DeclaredDim::Symbol("1".into()), DeclaredDim::Symbol("2".into()));
    let shape = ModelShape::find(&numbered, &ModelHints::default()).unwrap();
    assert_eq!((shape.inputs[0].axes[0], shape.inputs[0].axes[2]), (InputAxis::BATCH, InputAxis::FRAMES));
    check(
        &["x: f32[batch,3,14*h,14*w]"],
        "[sizes]\nh = 16\n\"14*w\" = 28",
        &["batch,3,224,28"],
        None,
        Some(1),
    );
}

#[test]
fn advice_works_as_it_is_printed() {
    for inputs in [
        &["x: f32[batch,3,height,width]"][..],
        &["x: f32[batch,?]"],
        &["x: f32[s77,s12,3,floor(h/2),14*w]"],
        &["video: f32[B,T,3,8,8]", "text: i64[B,sequence]"],
    ] {
        let error = find(inputs, "").unwrap_err();
        let said = |flag: &str| -> Vec<String> {
            let words: Vec<&str> = error.split_whitespace().collect();
            let values = words.windows(2).filter(|pair| pair[0] == flag);
            values.map(|pair| pair[1].trim_end_matches([',', '.']).to_owned()).collect()
        };
        let (axes, size) = (said("--axes"), said("--size"));
        assert_eq!(axes.len(), 1, "{error}");
        let all = [HintArgs { axes, ..HintArgs::default() }, HintArgs { size, ..HintArgs::default() }];
        for flags in all.iter().filter(|flags| **flags != HintArgs::default()) {
            let hints = ModelHints::default().with_flags(flags).unwrap();
            assert!(ModelShape::find(&model(inputs), &hints).is_ok(), "{flags:?}: {error}");
        }
    }
}

#[test]
fn every_refusal_lists_the_inputs_and_says_what_to_write() {
    for (inputs, hints, problem) in [
        (&["x: f32[batch,3,height,640]"][..], "", "`height` is neither batch nor frames"),
        (&["x: f32[batch,?]"], "", "axis 1 of input `x` has no name"),
        (&["x: f32[7,512]"], "", "no batch axis was found"),
        (&["x: double[batch,512]"], "", "of type double"),
        (&["x: f32[batch,512]"], "[inputs.y]\nvocabulary = 3", "no input `y`"),
        (&["x: f32[batch,512]"], "[inputs.x]\naxes = \"batch\"", "has 2 axes, 1 were given"),
        (
            &["x: f32[batch,512]"],
            "[inputs.x]\naxes = \"batch, width\"",
            "`width` of input `x` is not understood",
        ),
        (&["x: f32[batch,512]"], "[inputs.x]\naxes = \"batch, 256\"", "is 512 in the file, not 256"),
        (
            &["x: f32[batch,512]"],
            "[inputs.x]\naxes = \"batch, frames*100\"",
            "is 512 in the file, not frames*100",
        ),
        (&["x: f32[batch,512]"], "[inputs.x]\ndtype = \"u8\"", "is f32, not u8"),
        (&["x: f32[batch,512]"], "[inputs.x]\nrange = [1.0, 0.0]", "the range 1 to 0"),
    ] {
        let error = find(inputs, hints).unwrap_err();
        assert!(error.contains(problem), "{error}");
        assert!(error.contains("The model's inputs: x: ") && error.contains("To go on, "), "{error}");
    }
}

#[test]
fn value_ranges_follow_dtype_vocabulary_and_hints() {
    let mut model = model(&[
        "v: f32[B,4]",
        "u: u8[B,4]",
        "t: i64[B,4]",
        "k: i64[B,4]",
        "attention_mask: i64[B,4]",
        "b: bool[B,4]",
    ]);
    model.vocabularies.insert("t".into(), 1000);
    let hints = toml::from_str("[inputs.v]\nrange = [-2.0, 3.0]").unwrap();
    let shape = ModelShape::find(&model, &hints).unwrap();
    let ranges: Vec<(f64, f64)> = shape.inputs.iter().map(|input| (input.low, input.high)).collect();
    assert_eq!(ranges, [(-2.0, 3.0), (0.0, 256.0), (0.0, 1000.0), (0.0, 2.0), (1.0, 2.0), (0.0, 2.0)]);
    assert!(shape.findings.iter().any(|finding| finding.contains("k: its values are 0 and 1")));
}
