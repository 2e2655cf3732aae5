#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::onnx::fold_dequantize;
use super::*;
use crate::photo::Limits;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Gives what it was told to give, in the manifest's order.
struct Fake(Vec<Vec<f32>>);

impl Engine for Fake {
    fn kind(&self) -> EngineKind {
        EngineKind { name: "fake", precision: Precision::F32, reason: String::new() }
    }
    fn run(&self, _: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        Ok(self.0.clone())
    }
}

fn manifest_json() -> serde_json::Value {
    serde_json::json!({
        "format": 1, "name": "tiny", "version": "v1",
        "files": {"model.onnx": {"sha256": hex::encode(Sha256::digest(b"graph"))}},
        "input": {"name": "image", "width": 32, "height": 32, "resize": "stretch_bilinear",
                  "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        "embedding": {"output": "embedding", "dim": EMBEDDING_DIM},
        "heads": [
            {"name": "category", "kind": "single", "output": "category", "labels": ["dress", "shoe"],
             "temperature": 1.0, "threshold": 0.5},
            {"name": "neckline", "kind": "single", "output": "neckline", "labels": ["v", "round"],
             "temperature": 1.0, "threshold": 0.5, "applies_to": {"category": ["dress"]}}]
    })
}

fn written(manifest: &serde_json::Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.onnx"), b"graph").unwrap();
    fs::write(dir.path().join("manifest.json"), manifest.to_string()).unwrap();
    dir
}

fn fake_model(outputs: Vec<Vec<f32>>) -> Model {
    let dir = written(&manifest_json());
    Model::with_engine(Bundle::open(dir.path()).unwrap(), Arc::new(Fake(outputs)))
}

fn photo() -> Photo {
    Photo::from_rgb(image::RgbImage::from_pixel(40, 30, image::Rgb([255, 128, 0])), None)
}

#[test]
fn embeddings_leave_at_unit_length() {
    let prediction =
        fake_model(vec![vec![1.0, 2.0], vec![0.0, 0.0], vec![3.0; EMBEDDING_DIM]]).predict(&photo()).unwrap();
    assert_eq!(prediction.logits, [vec![1.0, 2.0], vec![0.0, 0.0]]);
    let norm: f64 = prediction.embedding.iter().map(|v| f64::from(*v).powi(2)).sum();
    assert!((norm - 1.0).abs() < 1e-6, "{norm}");
}

#[test]
fn a_region_map_is_read_by_the_names_of_its_planes() {
    let mut manifest = manifest_json();
    manifest["regions"] = serde_json::json!(
        {"output": "regions", "width": 2, "height": 1, "classes": ["hair", "product", "background", "skin", "other"]});
    let dir = written(&manifest);
    let planes = vec![0.1, 0.0, 0.2, 0.9, 0.4, 0.0, 0.3, 0.0, 0.0, 0.1];
    let outputs = vec![vec![0.0; 2], vec![0.0; 2], vec![1.0; EMBEDDING_DIM], planes];
    let model = Model::with_engine(Bundle::open(dir.path()).unwrap(), Arc::new(Fake(outputs)));
    let map = model.predict(&photo()).unwrap().regions.unwrap();
    assert_eq!((map.width, map.height), (2, 1));
    assert_eq!((map.product, map.other), (vec![0.2, 0.9], vec![0.0, 0.1]));
    assert_eq!((map.skin, map.hair), (vec![0.3, 0.0], vec![0.1, 0.0]));
    assert!(
        fake_model(vec![vec![0.0; 2], vec![0.0; 2], vec![1.0; EMBEDDING_DIM]])
            .predict(&photo())
            .unwrap()
            .regions
            .is_none()
    );
}

#[test]
fn an_embedding_without_a_direction_is_refused() {
    let model = fake_model(vec![vec![0.0; 2], vec![0.0; 2], vec![0.0; EMBEDDING_DIM]]);
    assert!(matches!(model.predict(&photo()), Err(ModelError::NoEmbedding)));
}

#[test]
fn outputs_that_do_not_fit_the_manifest_are_refused() {
    let nan = fake_model(vec![vec![f32::NAN, 0.0], vec![0.0; 2], vec![1.0; EMBEDDING_DIM]]).predict(&photo());
    assert!(matches!(nan, Err(ModelError::NotFinite { output }) if output == "category"));
    let short = fake_model(vec![vec![0.0; 2], vec![0.0; 2], vec![1.0; 7]]).predict(&photo());
    assert!(matches!(short, Err(ModelError::OutputShape { expected: EMBEDDING_DIM, received: 7, .. })));
}

#[test]
fn a_tensor_is_planar_and_normalized() {
    let spec = Bundle::open(written(&manifest_json()).path()).unwrap().manifest.input;
    let tensor = tensor(photo().rgb(), &spec);
    assert_eq!(tensor.len(), 3 * 32 * 32);
    for (c, expected) in [(0, 2.0), (1, (128.0 / 255.0 - 0.5) / 0.25), (2, -2.0)] {
        assert!(tensor[c * 1024..(c + 1) * 1024].iter().all(|v: &f32| (v - expected).abs() < 1e-5), "channel {c}");
    }
}

fn map(width: u32, classes: &[&str]) -> serde_json::Value {
    serde_json::json!({"output": "r", "width": width, "height": 4, "classes": classes})
}

#[test]
fn bundles_that_were_tampered_with_are_refused() {
    type Change = fn(&mut serde_json::Value);
    let refused: [(Change, &str); 11] = [
        (|m| m["format"] = 2.into(), "format 2"),
        (|m| m["files"]["model.onnx"]["sha256"] = "00".into(), "sha256"),
        (|m| m["files"]["../model.onnx"] = serde_json::json!({"sha256": "00"}), "directly in its folder"),
        (|m| m["files"] = serde_json::json!({}), "does not name model.onnx"),
        (|m| m["embedding"]["dim"] = 128.into(), "128 dimensions"),
        (|m| m["input"]["std"][1] = 0.into(), "positive"),
        (|m| m["input"]["width"] = 100_000.into(), "100000x32"),
        (|m| m["heads"][1]["name"] = "category".into(), "two heads"),
        (|m| m["heads"][1]["applies_to"]["category"][0] = "boat".into(), "`boat`"),
        (|m| m["regions"] = map(0, &["product", "skin"]), "1 to 256 cells"),
        (|m| m["regions"] = map(4, &["product", "hair"]), "product and skin"),
    ];
    for (change, expected) in refused {
        let mut manifest = manifest_json();
        change(&mut manifest);
        let error = Bundle::open(written(&manifest).path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let dir = written(&manifest_json());
    fs::write(dir.path().join("model.onnx"), b"other").unwrap();
    assert!(matches!(Bundle::open(dir.path()), Err(ModelError::Hash { .. })));
    fs::remove_file(dir.path().join("manifest.json")).unwrap();
    assert!(matches!(Bundle::open(dir.path()), Err(ModelError::Read { .. })));
}

fn node(axis: Option<i64>) -> NodeProto {
    let attribute = axis.map(|i| AttributeProto { name: "axis".into(), i, ..Default::default() });
    NodeProto {
        op_type: "DequantizeLinear".into(),
        input: vec!["w8".into(), "scale".into(), "zero".into()],
        output: vec!["w".into()],
        attribute: attribute.into_iter().collect(),
        ..Default::default()
    }
}

fn quantized(axis: Option<i64>, scale: &[f32]) -> ModelProto {
    let tensor = |name: &str, dims: &[i64], data_type, raw_data| TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: data_type as i32,
        raw_data,
        ..Default::default()
    };
    let floats = scale.iter().flat_map(|s| s.to_le_bytes()).collect();
    let channels = scale.len() as i64;
    let user = NodeProto { op_type: "Conv".into(), input: vec!["x".into(), "w".into()], ..Default::default() };
    let graph = GraphProto {
        node: vec![node(axis), user],
        initializer: vec![
            tensor("w8", &[2, 3], DataType::Int8, vec![1, 2, 3, 0xff, 0xfe, 0xfd]),
            tensor("scale", &[channels], DataType::Float, floats),
            tensor("zero", &[channels], DataType::Int8, vec![0; scale.len()]),
        ],
        ..Default::default()
    };
    ModelProto { graph: Some(graph), ..Default::default() }
}

#[test]
fn stored_weights_are_decoded_along_their_axis() {
    for (axis, scale, expected) in [
        (Some(0), vec![0.5, 2.0], [0.5, 1.0, 1.5, -2.0, -4.0, -6.0]),
        (Some(-1), vec![1.0, 10.0, 100.0], [1.0, 20.0, 300.0, -1.0, -20.0, -300.0]),
        (None, vec![3.0], [3.0, 6.0, 9.0, -3.0, -6.0, -9.0]),
    ] {
        let mut model = quantized(axis, &scale);
        assert_eq!(fold_dequantize(&mut model), Ok(1));
        let graph = model.graph.unwrap();
        assert_eq!(graph.node.len(), 1);
        let [weights] = graph.initializer.as_slice() else { panic!("unused initializers are kept") };
        let values: Vec<f32> = weights.raw_data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!((weights.name.as_str(), values.as_slice()), ("w", expected.as_slice()));
    }
}

#[test]
fn stored_weights_that_do_not_fit_are_refused() {
    assert!(fold_dequantize(&mut quantized(Some(1), &[1.0, 2.0])).unwrap_err().contains("axis 1"));
    assert!(fold_dequantize(&mut quantized(Some(9), &[1.0, 2.0])).unwrap_err().contains("axis"));
    assert!(fold_dequantize(&mut ModelProto::default()).unwrap_err().contains("no graph"));
}

fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/default")
}

#[test]
fn the_shipped_bundle_passes_its_own_golden_cases_and_answers_the_same_twice() {
    let model = Model::load(&shipped(), &EngineConfig::tract()).unwrap();
    let first = model.predict(&photo()).unwrap();
    let again = std::thread::scope(|s| s.spawn(|| model.predict(&photo()).unwrap()).join().unwrap());
    assert_eq!(first.embedding, again.embedding);
    assert_eq!(first.logits, again.logits);
    assert_eq!(first.logits.len(), model.manifest().heads.len());
}

#[test]
fn a_bundle_whose_graph_answers_otherwise_than_its_golden_cases_is_refused() {
    let dir = shipped_but(|golden, _| {
        let logit = &mut golden["cases"][0]["outputs"]["category"][0];
        *logit = (logit.as_f64().unwrap() + 1.0).into();
    });
    let loaded = Model::load(dir.path(), &EngineConfig::tract());
    assert!(matches!(loaded, Err(ModelError::Golden { output, .. }) if output == "category"));
}

/// The input tensors of drawn pictures as Pillow and NumPy make them: `python -m scripts.export` writes both.
#[test]
fn preprocessing_is_trainings() {
    #[derive(serde::Deserialize)]
    struct Tolerance {
        value_abs: f32,
        channel_mean_abs: f64,
    }
    /// Positions are (channel, row, column).
    #[derive(serde::Deserialize)]
    struct Expected {
        tolerance: Tolerance,
        channel_mean: [f64; 3],
        positions: Vec<[usize; 3]>,
        values: Vec<f32>,
    }
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess");
    let spec = Bundle::open(&shipped()).unwrap().manifest.input;
    let mut cases = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "png") {
            continue;
        }
        let limits = Limits { min_side: 1, ..Limits::default() };
        let photo = Photo::decode(&fs::read(&path).unwrap(), &limits).unwrap();
        let tensor = tensor(photo.rgb(), &spec);
        let expected: Expected = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
        let (height, width) = (spec.height as usize, spec.width as usize);
        for ([c, y, x], value) in expected.positions.into_iter().zip(expected.values) {
            let received = tensor[(c * height + y) * width + x];
            let off = (received - value).abs();
            assert!(off <= expected.tolerance.value_abs, "{}: ({c}, {y}, {x}) {received} {value}", path.display());
        }
        for (plane, mean) in tensor.chunks_exact(height * width).zip(expected.channel_mean) {
            let received = plane.iter().map(|v| f64::from(*v)).sum::<f64>() / plane.len() as f64;
            let off = (received - mean).abs();
            assert!(off <= expected.tolerance.channel_mean_abs, "{}: mean {received} {mean}", path.display());
        }
        cases += 1;
    }
    assert!(cases >= 5, "{cases} cases in {}", dir.display());
}

/// ONNX Runtime as `change` wants it on the bundle in `dir`; `None`, loudly, where its library is not installed.
fn onnxruntime(dir: &std::path::Path, change: impl FnOnce(&mut EngineConfig)) -> Option<Result<Model, ModelError>> {
    if let Err(reason) = onnxruntime::load(None) {
        eprintln!("SKIPPED: {reason}");
        return None;
    }
    let mut config = EngineConfig { choice: EngineChoice::OnnxRuntime, ..EngineConfig::default() };
    change(&mut config);
    Some(Model::load(dir, &config))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[test]
fn both_engines_answer_alike() {
    let Some(fast) = onnxruntime(&shipped(), |config| config.precision = Some(Precision::F32)) else { return };
    let (fast, embedded) = (fast.unwrap(), Model::load(&shipped(), &EngineConfig::tract()).unwrap());
    assert_eq!((fast.engine().name, fast.engine().precision), ("onnxruntime", Precision::F32));
    assert_eq!((embedded.engine().name, embedded.engine().precision), ("tract", Precision::F32));
    let (a, b) = (fast.predict(&photo()).unwrap(), embedded.predict(&photo()).unwrap());
    assert!(cosine(&a.embedding, &b.embedding) >= 0.9999);
    for (a, b) in a.logits.iter().flatten().zip(b.logits.iter().flatten()) {
        assert!((a - b).abs() <= 0.05, "{a} {b}");
    }
    let (a, b) = (a.regions.unwrap(), b.regions.unwrap());
    assert!(a.product.iter().zip(&b.product).all(|(a, b)| (a - b).abs() <= 0.05));
}

/// What the int8 file may lose is judged on photos when it is made; here, that this machine runs it as it should run.
#[test]
fn int8_passes_its_golden_cases_and_answers_the_same_on_every_thread() {
    let int8 = |config: &mut EngineConfig| (config.precision, config.threads) = (Some(Precision::Int8), 2);
    let Some(model) = onnxruntime(&shipped(), int8) else { return };
    if onnxruntime::fast_int8().is_none() {
        // Its products of 8 bits may overflow here, which is why it is not taken.
        eprintln!("SKIPPED: this processor has no fast int8");
        return;
    }
    let model = model.unwrap();
    assert_eq!(model.engine().precision, Precision::Int8);
    let first = model.predict(&photo()).unwrap();
    std::thread::scope(|scope| {
        // More threads than sessions: two wait for their turn.
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| model.predict(&photo()).unwrap())).collect();
        for thread in threads {
            let again = thread.join().unwrap();
            assert_eq!((&again.embedding, &again.logits), (&first.embedding, &first.logits));
        }
    });
    let exact = Model::load(&shipped(), &EngineConfig::tract()).unwrap().predict(&photo()).unwrap();
    assert!(cosine(&first.embedding, &exact.embedding) >= 0.99);
}

/// The shipped bundle in another folder, with `change` made to its golden cases and manifest.
fn shipped_but(change: impl FnOnce(&mut serde_json::Value, &mut serde_json::Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let read =
        |name: &str| -> serde_json::Value { serde_json::from_slice(&fs::read(shipped().join(name)).unwrap()).unwrap() };
    let (mut golden, mut manifest) = (read("golden.json"), read("manifest.json"));
    for file in manifest["files"].as_object().unwrap().keys() {
        fs::copy(shipped().join(file), dir.path().join(file)).unwrap();
    }
    change(&mut golden, &mut manifest);
    let golden = golden.to_string();
    manifest["files"]["golden.json"]["sha256"] = hex::encode(Sha256::digest(&golden)).into();
    fs::write(dir.path().join("golden.json"), golden).unwrap();
    fs::write(dir.path().join("manifest.json"), manifest.to_string()).unwrap();
    dir
}

#[test]
fn an_int8_file_that_is_missing_or_not_vouched_for_is_passed_over() {
    let auto = |config: &mut EngineConfig| config.choice = EngineChoice::Auto;
    let untold = shipped_but(|golden, _| drop(golden.as_object_mut().unwrap().remove("tolerance_int8")));
    let Some(model) = onnxruntime(untold.path(), auto) else { return };
    let model = model.unwrap();
    assert_eq!((model.engine().name, model.engine().precision), ("onnxruntime", Precision::F32));
    let int8 = |config: &mut EngineConfig| config.precision = Some(Precision::Int8);
    let refused = onnxruntime(untold.path(), int8).unwrap().err().unwrap().to_string();
    assert!(refused.contains("says nothing of the int8 file"), "{refused}");
    let without = shipped_but(|_, manifest| drop(manifest["files"].as_object_mut().unwrap().remove("model.int8.onnx")));
    let model = onnxruntime(without.path(), auto).unwrap().unwrap();
    assert_eq!(model.engine().precision, Precision::F32);
    assert!(model.engine().reason.contains("no int8 file"), "{}", model.engine().reason);
    let refused = onnxruntime(without.path(), int8).unwrap().err().unwrap().to_string();
    assert!(refused.contains("has no model.int8.onnx"), "{refused}");
}

#[test]
fn a_provider_that_is_not_there_is_named_and_auto_goes_on_without() {
    let cuda = |config: &mut EngineConfig| config.providers = vec![Provider::Cuda];
    let Some(loaded) = onnxruntime(&shipped(), cuda) else { return };
    let Err(refused) = loaded else {
        eprintln!("SKIPPED: this machine has CUDA");
        return;
    };
    assert!(refused.to_string().to_uppercase().contains("CUDA"), "{refused}");
    let auto = |config: &mut EngineConfig| {
        (config.choice, config.providers) = (EngineChoice::Auto, vec![Provider::Cuda]);
    };
    let model = onnxruntime(&shipped(), auto).unwrap().unwrap();
    assert_eq!(model.engine().name, "onnxruntime");
    assert!(model.engine().reason.to_uppercase().contains("CUDA"), "{}", model.engine().reason);
}

#[test]
fn the_embedded_engine_says_that_it_runs_f32_only() {
    let config = EngineConfig { precision: Some(Precision::Int8), ..EngineConfig::tract() };
    let refused = Model::load(&shipped(), &config).err().unwrap().to_string();
    assert!(refused.contains("f32 only"), "{refused}");
}
