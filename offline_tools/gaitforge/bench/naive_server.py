"""A policy server as people write it, for comparison: REP socket, msgpack of lists of floats, ONNX, defaults.

No priority, no pinning, no checks: ``python -m gaitforge.bench.naive_server BUNDLE SOCKET``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgpack
import numpy as np
import onnxruntime
import zmq

from gaitd.bundle.read import open_bundle


def serve(bundle: Path, path: str) -> None:
    """Answer each ``{"observation": [...]}`` with ``{"action": [...]}`` until it is killed."""
    session = onnxruntime.InferenceSession(open_bundle(bundle).files["model.onnx"])
    name = session.get_inputs()[0].name
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(f"ipc://{path}")
    while True:
        request = msgpack.unpackb(socket.recv())
        observation = np.array([request["observation"]], dtype=np.float32)
        action = session.run(None, {name: observation})[0]
        socket.send(msgpack.packb({"action": action[0].tolist()}))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
