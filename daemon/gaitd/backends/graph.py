"""Several models as one backend: each takes parts of the observation and what those before it gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaitd.backends.base import Backend, Float32Array
from gaitd.policy.graph import Node


class GraphBackend:
    """A policy's models in their order (gaitd.backends.base.Backend).

    A model that runs every n-th step leaves its output for the steps in between. Like a hidden state, that
    output and the count of steps become the policy's own with ``commit``.
    """

    def __init__(self, nodes: Sequence[Node], backends: Sequence[Backend]) -> None:
        """``backends``: one for each node, in their order."""
        self._nodes = nodes
        self._backends = backends
        self._vectors = [np.zeros(sum(node.input_sizes.values()), np.float32) for node in nodes]
        self._held = [np.zeros(node.size, np.float32) for node in nodes]
        self._next = [np.zeros(node.size, np.float32) for node in nodes]
        self._step = 0

    def infer(self, observation: Float32Array) -> Float32Array:
        """See Backend.infer."""
        outputs = self._next
        for index, node in enumerate(self._nodes):
            if not self._runs(node):
                outputs[index][:] = self._held[index]
                continue
            vector = self._vectors[index]
            taken = [observation[t] if isinstance(t, slice) else outputs[t] for t in node.takes]
            np.concatenate(taken, out=vector)
            outputs[index][:] = self._backends[index].infer(vector)
        return outputs[-1]

    def commit(self) -> None:
        """See Backend.commit."""
        for node, backend, held, following in zip(
            self._nodes, self._backends, self._held, self._next, strict=True
        ):
            if self._runs(node):
                backend.commit()
                held[:] = following
        self._step += 1

    def reset(self) -> None:
        """See Backend.reset."""
        self._step = 0
        for backend in self._backends:
            backend.reset()

    def versions(self) -> dict[str, str]:
        """See Backend.versions: by runtime, and where models differ in it by model."""
        versions: dict[str, str] = {}
        for node, backend in zip(self._nodes, self._backends, strict=True):
            for name, version in backend.versions().items():
                if versions.setdefault(name, version) != version:
                    versions[f"{name} of {node.model.name}"] = version
        return versions

    def memory(self) -> dict[str, int]:
        """See Backend.memory: of all models together."""
        total: dict[str, int] = {}
        for backend in self._backends:
            for kind, size in backend.memory().items():
                total[kind] = total.get(kind, 0) + size
        return total

    def close(self) -> None:
        """See Backend.close."""
        for backend in self._backends:
            backend.close()

    def _runs(self, node: Node) -> bool:
        return self._step % node.model.every_steps == 0
