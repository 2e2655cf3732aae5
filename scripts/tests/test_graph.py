"""The ONNX that is built against plain numpy, and, where the weights are, int8 against f32."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from scripts import export, features, golden, options, photos
from scripts.graph import Clipped, Graph
from scripts.taxonomy import HEADS

WEIGHTS = Path(os.environ.get("VITRINE_WEIGHTS", options.REPOSITORY / "../shared/weights/resnet50_w1a2_packed.npz"))
PARTS = ["l2.bands", "l3.square", "l4.mean"]
#: What the Rust engine is known to run.
PLAIN = {"Conv", "Clip", "Add", "Mul", "Relu", "MaxPool", "ReduceMean", "Gemm", "Concat", "Sqrt", "Div", "DequantizeLinear",
         "AveragePool", "Flatten", "Resize", "Softmax", "Slice", "MatMul", "Reshape", "ReduceSum", "Sub"}  # fmt: skip

needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason=f"SKIPPED LOUDLY: no weights at {WEIGHTS} (VITRINE_WEIGHTS)")


def test_quantized_rows_are_close() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 300)).astype(np.float32)
    q, scale = export.quantize_rows(weight)
    assert np.abs(q * scale[:, None] - weight).max() < 0.02


def test_small_constants_are_shared_and_scalars_stay_scalars() -> None:
    g = Graph()
    assert g.const("a", np.array(3.0, np.float32)) == g.const("b", np.array(3.0, np.float32))
    assert list(g.inits[0].dims) == []


def test_publish_replaces_whole_folders(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        export.publish(tmp_path / "m", {"model.onnx": text}, {"format": 1})
    assert (tmp_path / "m/model.onnx").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.fixture(scope="module")
def model() -> tuple[onnx.ModelProto, dict[str, list[str]]]:
    rng = np.random.default_rng(0)
    width = sum(features.WIDTHS[(p.split(".")[0], p.split(".")[1])] for p in PARTS)
    labels = {head: ["a", "b", "c"] for head in HEADS}

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * 0.05).astype(np.float32)

    trained = {"mean": normal(width), "std": np.ones(width, np.float32), "hidden.weight": normal(16, width),
               "hidden.bias": normal(16), "embedding.weight": normal(256, width), "embedding.bias": normal(256)}  # fmt: skip
    for head in HEADS:
        trained |= {f"head.{head}.weight": normal(3, 16), f"head.{head}.bias": normal(3)}
    return export.build(WEIGHTS, trained, labels, PARTS, Clipped()), labels


@needs_weights
def test_exported_file_is_plain_small_and_runs(model: tuple[onnx.ModelProto, dict[str, list[str]]]) -> None:
    proto, labels = model
    assert {n.op_type for n in proto.graph.node} <= PLAIN
    data = proto.SerializeToString()
    assert len(data) < 30_000_000
    net = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert {o.name for o in net.get_outputs()} == {*HEADS, "embedding"}
    case = json.loads(golden.cases(data))["cases"][0]["outputs"]
    assert np.linalg.norm(case["embedding"]) == pytest.approx(1, abs=1e-4)
    assert all(len(case[h]) == len(labels[h]) for h in labels)


@needs_weights
def test_int8_cache_engine_agrees_with_f32() -> None:
    drawn = [golden.shirt(96, 128), golden.clock(160, 90)]
    x = photos.normalize(np.stack([photos.stretch(image) for image in drawn]))
    a, b = (np.asarray(features.session(WEIGHTS, e, 1, batch=2).run(None, {"image": x})[0]) for e in ("f32", "int8"))
    at = 0
    for tap, how in features.PARTS:
        n = features.WIDTHS[(tap, how)]
        p, q = a[:, at : at + n], b[:, at : at + n]
        at += n
        cosine = (p * q).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(q, axis=1)
        assert cosine.min() > 0.999, f"{tap}.{how}"
