"""A policy that shows what it sees of a stream, and a producer in a process of its own that does wrong."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import helper, numpy_helper

from gaitd.bundle import open_bundle
from gaitd.policy.encoder import feeds_of
from gaitd.wire.generated import Mode
from gaitforge.bundle.write import write_bundle
from gaitforge.client.stream import StreamProducer
from support.bundles import contract, mlp, mlp_onnx, npz, observation_dim, small_manifest, write_small_bundle
from support.controller import Controller
from support.daemon import Gaitd
from support.reference import EXAMPLE_BUNDLE

NAME = "height"
SEEN = 0.5
"""What a good producer's every value is."""
UNSEEN = 0.25
"""The same of frames that must never be taken."""
MAX_AGE_S = 0.3
RATE_HZ = 50.0
PATIENCE_STEPS = 400
"""Of 12 ms: for what takes a control period on a machine that is not busy."""
HEIGHT: dict[str, Any] = {
    "name": NAME,
    "shape": [2, 3],
    "min": -1.0,
    "max": 1.0,
    "rate_hz": RATE_HZ,
    "max_age_s": MAX_AGE_S,
    "beyond": "zeros",
}
STREAM_TERMS = [{"term": term, "name": NAME} for term in ("stream", "stream_age", "stream_valid")]


def stream_manifest(**changes: Any) -> dict[str, Any]:
    """The contract of three joints with a height map of six values; ``changes``: of its stream."""
    manifest = small_manifest(format=2, streams=[{**HEIGHT, **changes}])
    manifest["observation"]["terms"] += STREAM_TERMS
    return manifest


def stream_bundle(path: Path, model: bytes | None = None, **changes: Any) -> Path:
    """Its action is tanh of: a value of the map, the forward command with a little gyroscope, the flag.

    ``model``: of the encoder that makes the map.
    """
    manifest = stream_manifest(**changes)
    dim = observation_dim(manifest)
    first, second = np.zeros((dim, 16), np.float32), np.zeros((16, 3), np.float32)
    for place, (row, weight) in enumerate(((dim - 8, 1.0), (6, 1.0), (dim - 1, 1.0), (0, 0.1))):
        first[row, place] = weight
    second[0, 0] = second[1, 1] = second[2, 2] = 1.0
    second[3, 1] = 0.01
    weights = [first, np.zeros(16, np.float32), second]
    observation = np.random.default_rng(1).normal(size=(16, dim)).astype(np.float32)
    golden = npz(observation=observation, action=mlp(weights, observation))
    files = {} if model is None else {"encoder": model}
    return write_small_bundle(path, manifest, model=mlp_onnx(weights), golden=golden, **files)


def seeing_lite3(path: Path, model_of_map: bytes | None = None, **changes: Any) -> Path:
    """The example's walking policy with a height map in its observation, which its model leaves aside.

    ``model_of_map``: of the encoder that makes it.
    """
    example = open_bundle(EXAMPLE_BUNDLE)
    manifest = yaml.safe_load(example.read_bytes("manifest.yaml"))
    del manifest["files"]
    manifest |= {"format": 2, "streams": [{**HEIGHT, **changes}]}
    manifest["observation"]["terms"] += STREAM_TERMS
    observation, action = example.golden()
    blind, dim = observation.shape[1], observation_dim(manifest)
    model = onnx.load_from_string(example.read_bytes("model.onnx"))
    (given,) = model.graph.input
    for node in model.graph.node:
        node.input[:] = ["blind" if name == given.name else name for name in node.input]
    for name, value in (("first", 0), ("behind", blind), ("axis", 1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    model.graph.node.insert(0, helper.make_node("Slice", [given.name, "first", "behind", "axis"], ["blind"]))
    given.type.tensor_type.shape.dim[1].dim_value = dim
    seen = np.zeros((len(observation), dim - blind), np.float32)
    golden = npz(observation=np.hstack((observation, seen)), action=action)
    files = {"model.onnx": model.SerializeToString(), "golden.npz": golden}
    if example.has("obs_stats.npz"):
        mean, std = example.obs_stats() or (seen, seen)
        wide = np.zeros(dim - blind, np.float32), np.ones(dim - blind, np.float32)
        files["obs_stats.npz"] = npz(mean=np.append(mean, wide[0]), std=np.append(std, wide[1]))
    if model_of_map is not None:
        files["encoder.onnx"] = model_of_map
    return write_bundle(path, manifest, files)


def height_stream(**changes: Any) -> Any:
    """As the code sees it."""
    return contract(stream_manifest(**changes)).streams[0]


class Producer:
    """``python -m support.streams``: publishes until told otherwise."""

    def __init__(self, runtime_dir: Path, bundle: Path) -> None:
        arguments = [sys.executable, "-m", "support.streams", str(runtime_dir), str(bundle)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, text=True)

    def do(self, what: str) -> None:
        """One of those of ``_Source``."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


def stream_of(gaitd: Gaitd) -> dict[str, Any]:
    (stream,) = gaitd.status()["streams"]
    return dict(stream)


def seen(controller: Controller) -> tuple[float, bool]:
    """What the policy sees of the stream at the next state that is answered: a value, and the flag."""
    for _ in range(PATIENCE_STEPS):
        answer = controller.step()
        if answer is not None:
            assert answer.mode is Mode.ACTIVE
            return float(np.arctanh(answer.action[0])), bool(answer.action[2] > 0.5)
    raise AssertionError("no state was answered")


def walk_until(controller: Controller, expected: tuple[float, bool]) -> set[tuple[float, bool]]:
    """Walk until that is seen; everything that was seen before."""
    before = set()
    for _ in range(PATIENCE_STEPS):
        value, valid = seen(controller)
        if (round(value, 3), valid) == expected:
            return before
        before.add((round(value, 3), valid))
    raise AssertionError(f"the policy never sees {expected}, but {before}")


FRESH, STALE = (SEEN, True), (0.0, False)


class _Source:
    def __init__(self, producer: StreamProducer, shape: list[int]) -> None:
        self._producer, self._shape = producer, shape
        self._memory = producer.memory
        self._stamp_ns = time.monotonic_ns()
        self._rng = random.Random(1)

    def good(self) -> None:
        self._stamp_ns = time.monotonic_ns()
        self._publish(SEEN, self._stamp_ns)

    def slow(self) -> None:
        """2 Hz."""
        time.sleep(0.5)
        self.good()

    def frozen(self) -> None:
        """The last stamp again, whatever is in the frame."""
        self._publish(UNSEEN, self._stamp_ns)

    def future(self) -> None:
        self._publish(UNSEEN, time.monotonic_ns() + 10**9)

    def back(self) -> None:
        self._stamp_ns -= 10**6
        self._publish(UNSEEN, self._stamp_ns)

    def old(self) -> None:
        """Captured long ago, and each newer than the one before."""
        self._stamp_ns += 1
        self._publish(SEEN, self._stamp_ns)

    def not_finite(self) -> None:
        self._publish(np.nan, time.monotonic_ns())

    def scrambled(self) -> None:
        """Any bytes anywhere in the memory, the head and the counter too."""
        self._memory[:] = self._rng.randbytes(len(self._memory))

    def truncated(self) -> None:
        """The file cannot become shorter, so the records say that they are."""
        try:
            os.ftruncate(self._producer.fd, 64)
        except PermissionError:
            self._producer._ring.append(b"short")

    def silent(self) -> None:
        """Alive, connected, and without a frame."""

    def _publish(self, value: float, stamp_ns: int) -> None:
        self._producer.publish(np.full(self._shape, value, np.float32), stamp_ns)


def _main() -> None:
    runtime_dir, bundle = map(Path, sys.argv[1:])
    feed = feeds_of(open_bundle(bundle).manifest.streams)[0]
    source = _Source(StreamProducer(runtime_dir, feed), feed.shape)
    doing = ["good"]

    def listen() -> None:
        for line in sys.stdin:
            doing[0] = line.strip()

    threading.Thread(target=listen, daemon=True).start()
    while True:
        getattr(source, doing[0])()
        time.sleep(1.0 / RATE_HZ)


if __name__ == "__main__":
    _main()
