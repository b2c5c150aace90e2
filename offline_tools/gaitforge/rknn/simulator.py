"""The toolkit's simulator as a backend for closed loops."""

from __future__ import annotations

import numpy as np

from gaitd.errors import BackendError
from gaitd.policy.manifest import Float32Array
from gaitforge.model.onnx_policy import PolicyOnnx
from gaitforge.rknn.toolkit import Toolkit


class SimulatorBackend:
    """The model that a toolkit has built, simulated (gaitd.backends.base.Backend).

    The toolkit must outlive it, and build nothing else meanwhile.
    """

    def __init__(self, toolkit: Toolkit, policy: PolicyOnnx) -> None:
        self._toolkit, self._policy = toolkit, policy
        self._hidden = [np.zeros(state.shape, np.float32) for state in policy.model.recurrent]
        self._following = list(self._hidden)

    def infer(self, observation: Float32Array) -> Float32Array:
        """See Backend.infer."""
        rows = np.asarray(observation, np.float32).reshape(1, 1, -1)
        outputs = self._toolkit.infer([rows, *(state[None] for state in self._hidden)])
        self._following = [output[0] for output in outputs[1:]]
        action = outputs[0].reshape(-1)
        if len(action) != self._policy.action_dim:
            raise BackendError(f"the simulator gave {len(action)} values, expected {self._policy.action_dim}")
        return action

    def commit(self) -> None:
        """See Backend.commit."""
        self._hidden = self._following

    def reset(self) -> None:
        """See Backend.reset."""
        self._hidden = [np.zeros_like(state) for state in self._hidden]

    def versions(self) -> dict[str, str]:
        """See Backend.versions."""
        return self._toolkit.versions()

    def memory(self) -> dict[str, int]:
        """See Backend.memory: the simulator takes none."""
        return {}

    def close(self) -> None:
        """See Backend.close: the toolkit is closed by its owner."""

    def run_rows(self, observations: Float32Array) -> Float32Array:
        """Run rows (N, observation_dim) in order from a reset; returns actions (N, action_dim)."""
        if not self._hidden:
            return self._toolkit.infer([observations[:, None, :]])[0].reshape(len(observations), -1)
        self.reset()
        actions = []
        for row in observations:
            actions.append(self.infer(row).copy())
            self.commit()
        return np.stack(actions)
