"""One photo: decoded, through the model, its colours clustered. Runs in worker processes, one core each."""

from __future__ import annotations

import json
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

#: Longest side of the picture that colours are clustered on, as in the service.
COLOR_SIDE = 256
#: Pixels that are clustered at most, drawn with a fixed seed.
COLOR_PIXELS = 5_000
CLUSTERS = 5
#: Distance in Lab below which a pixel is taken for the border's colour.
BACKGROUND = 12.0

_net: ort.InferenceSession
_manifest: dict[str, Any]
_reduced = False
_barrier: Barrier


def start(bundle: str, file: str, reduced: bool, barrier: Barrier) -> None:
    """Makes this process ready: one thread each, so that processes do not fight for cores."""
    global _net, _manifest, _reduced, _barrier
    _barrier = barrier
    cv2.setNumThreads(1)
    threadpool_limits(1)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if file == "model.onnx":
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    _net = ort.InferenceSession(str(Path(bundle) / file), settings, ["CPUExecutionProvider"])
    _manifest = json.loads((Path(bundle) / "manifest.json").read_text())
    _reduced = reduced


def meet() -> None:
    """Returns once every process has come this far."""
    _barrier.wait()


def decode(data: bytes) -> NDArray[np.uint8]:
    """BGR pixels, upright. With `reduced`, JPEG at a half or a quarter of its size where that still is twice the input's."""
    flag = cv2.IMREAD_COLOR
    if _reduced:
        head = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        side = 0 if head is None else 8 * min(head.shape[:2])
        flag = cv2.IMREAD_REDUCED_COLOR_4 if side >= 1792 else cv2.IMREAD_REDUCED_COLOR_2 if side >= 896 else flag
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        raise ValueError("not an image")
    return np.asarray(pixels, np.uint8)


def tensor(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(1, 3, 224, 224), normalised. Area averaging is OpenCV's nearest to training's rule, and its fastest."""
    size = _manifest["input"]["width"], _manifest["input"]["height"]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)[:, :, ::-1].astype(np.float32) / 255
    small = (small - np.float32(_manifest["input"]["mean"])) / np.float32(_manifest["input"]["std"])
    return np.ascontiguousarray(small.transpose(2, 0, 1)[None])


def attributes(outputs: dict[str, NDArray[np.float32]]) -> list[dict[str, Any]]:
    """Labels with confidence; none where the model is unsure."""
    found = []
    for head in _manifest["heads"]:
        logits = outputs[head["output"]][0] / head["temperature"]
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = int(shares.argmax())
        sure = float(shares[best]) >= head["threshold"]
        found.append({"name": head["name"], "value": head["labels"][best] if sure else None, "confidence": float(shares[best])})
    return found


def colors(pixels: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """The largest clusters in Lab of what is not the border's colour."""
    scale = COLOR_SIDE / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    product = lab[np.linalg.norm(lab - np.median(border, axis=0), axis=2) > BACKGROUND]
    if len(product) < CLUSTERS:
        product = lab.reshape(-1, 3)
    if len(product) > COLOR_PIXELS:
        product = product[np.random.default_rng(0).choice(len(product), COLOR_PIXELS, replace=False)]
    means = KMeans(CLUSTERS, n_init=1, random_state=0).fit(product)
    shares = np.bincount(means.labels_, minlength=CLUSTERS) / len(product)
    rgb = cv2.cvtColor(means.cluster_centers_[None].astype(np.float32), cv2.COLOR_LAB2RGB)[0]
    order = np.argsort(-shares)
    digits = ["".join(f"{round(255 * float(v)):02x}" for v in color.clip(0, 1)) for color in rgb]
    return [{"hex": "#" + digits[k], "share": float(shares[k])} for k in order]


def look(data: bytes) -> tuple[dict[str, Any], bytes]:
    """What is seen on a photo, with the time of each step; and its embedding, f32."""
    times = [time.perf_counter()]

    def lap() -> None:
        times.append(time.perf_counter())

    pixels = decode(data)
    lap()
    x = tensor(pixels)
    lap()
    names = [o.name for o in _net.get_outputs()]
    outputs: dict[str, Any] = dict(zip(names, _net.run(names, {"image": x}), strict=True))
    lap()
    seen = {"width": pixels.shape[1], "height": pixels.shape[0], "attributes": attributes(outputs), "colors": colors(pixels)}
    lap()
    steps = zip(("decode", "resize", "infer", "color"), times, times[1:], strict=False)
    seen["steps_ms"] = {step: 1000 * (after - before) for step, before, after in steps}
    return seen, np.asarray(outputs["embedding"][0], "<f4").tobytes()
