"""Records what a policy sees and does in its trainer: state, observation, action, for some seconds.

One file that needs numpy alone (Python 3.6 and later); tensors of torch and warp are taken as they come. Put
it beside the script that plays the policy, with exploration and observation noise off:

    from gaitd_capture import Recorder
    env = Recorder(env, "capture.npz", seconds=5.0)   # outermost: around all other wrappers
    # ... play as always; the file is written when the seconds are full

It knows Isaac Lab (manager-based), mjlab, legged_gym and gymnasium's MuJoCo environments. For any other
runner, hand over each control step:

    capture = Capture(joints=["hip", "knee"], control_period_s=0.02)
    capture.add(reset=True, observation=..., action=..., joint_position=..., joint_velocity=...,
                angular_velocity=..., orientation=..., velocity_command=...)
    capture.save("capture.npz")

Then: gaitforge parity BUNDLE capture.npz
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

FORMAT, VERSION = "gaitd-capture", 1

JOINTS = -1
ANY = -2
FIELDS = {
    "joint_position": JOINTS,  # rad, in the order of the capture's joints
    "joint_velocity": JOINTS,  # rad/s
    "joint_torque": JOINTS,  # Nm, optional
    "angular_velocity": 3,  # rad/s, base frame
    "orientation": 4,  # w, x, y, z: base frame to world frame
    "projected_gravity": 3,  # optional: unit vector in the base frame
    "linear_velocity": 3,  # m/s, base frame, optional
    "linear_acceleration": 3,  # m/s^2, base frame, gravity included as an accelerometer does, optional
    "velocity_command": 3,  # forward, left, turn left, as the policy is commanded, before scaling
    "observation": ANY,  # exactly what was given to the policy
    "action": ANY,  # exactly what the policy answered, before clip and scale
    "joint_target": JOINTS,  # rad, what the action became, optional; NaN where it is not known
}
"""What a step may hold, and how many values each has."""


class Capture:
    """Collects control steps and writes them as an .npz file."""

    def __init__(
        self,
        joints: Any,
        control_period_s: float,
        normalized: bool = False,
        mean: Any = None,
        std: Any = None,
        writer: str = "gaitd_capture",
    ) -> None:
        """``normalized``: the observations are what came out of a normalizer, not what went into it.

        ``mean`` and ``std``: of that normalizer, if there is one.
        """
        self.joints, self.control_period_s = [str(name) for name in joints], float(control_period_s)
        self.normalized, self.writer = bool(normalized), writer
        self.notes: Any = []
        self._stats: Any = {"observation_mean": mean, "observation_std": std}
        self._rows: Any = {}
        self._reset: Any = []

    def __len__(self) -> int:
        return len(self._reset)

    def add(self, reset: bool = False, **values: Any) -> None:
        """Take one control step: the state, the observation made from it, the policy's answer to that.

        ``reset``: the first step of an episode, with empty history and a last action of zero.
        """
        row = {}
        for name, value in values.items():
            if name not in FIELDS:
                raise ValueError(f"{name}: not a field of a capture; those are {', '.join(FIELDS)}")
            row[name] = np.array(_numpy(value), np.float32).ravel()
            size = {JOINTS: len(self.joints), ANY: row[name].size}.get(FIELDS[name], FIELDS[name])
            if row[name].size != size:
                raise ValueError(f"{name}: {row[name].size} values, expected {size}")
        if self._rows and set(row) != set(self._rows):
            changed = sorted(set(row) ^ set(self._rows))
            raise ValueError(f"{', '.join(changed)}: in some steps, but not in all")
        for name, value in row.items():
            self._rows.setdefault(name, []).append(value)
        self._reset.append(bool(reset))

    def save(self, path: Any) -> None:
        """Write the file."""
        if not self._reset:
            raise ValueError("no control step was captured")
        arrays: Any = {name: np.stack(rows) for name, rows in self._rows.items()}
        if "orientation" in arrays and "projected_gravity" in arrays:
            arrays["orientation"] = self._ordered(arrays["orientation"], arrays["projected_gravity"])
        arrays["reset"] = np.array(self._reset, np.uint8)
        for name, value in self._stats.items():
            if value is not None:
                arrays[name] = np.array(_numpy(value), np.float32).ravel()
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "writer": self.writer,
            "joints": self.joints,
            "control_period_s": self.control_period_s,
            "observation": "normalized" if self.normalized else "raw",
            "notes": self.notes,
        }
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        with Path(path).open("wb") as stream:
            np.savez(stream, **arrays)

    def _ordered(self, quaternion: Any, gravity: Any) -> Any:
        """Quaternions as w, x, y, z; where they came as x, y, z, w, the projected gravity tells."""
        errors = []
        for q in (quaternion, quaternion[:, [3, 0, 1, 2]]):
            w, x, y, z = q.T
            made = np.stack((2 * (w * y - x * z), -2 * (w * x + y * z), x * x + y * y - w * w - z * z), 1)
            errors.append(float(np.abs(made - gravity).max()))
        if errors[1] < errors[0]:
            self.notes.append("orientation came as x, y, z, w: told by the projected gravity")
            return quaternion[:, [3, 0, 1, 2]]
        return quaternion


class Recorder:
    """Wraps an environment; writes the capture when its seconds are full, or at ``close``."""

    def __init__(
        self,
        env: Any,
        path: Any,
        seconds: float = 5.0,
        joints: Any = None,
        command: Any = None,
        index: int = 0,
        robot: str = "robot",
        normalized: bool = False,
        mean: Any = None,
        std: Any = None,
        period_s: Any = None,
    ) -> None:
        """``joints``: names, where the environment has none or has more than the policy moves.

        ``command``: a function of the environment that gives the three velocities, or a command's name.
        ``index``: which of the environment's robots. ``robot``: its name in the scene.
        """
        self.env, self._path, self._index = env, path, index
        inner = getattr(env, "unwrapped", env)
        self._source = _source(inner, index, robot, joints, command)
        self._inner = inner
        period_s = self._source.period_s if period_s is None else period_s
        self._steps = max(2, round(seconds / period_s))
        self.capture = Capture(self._source.joints, period_s, normalized, mean, std, self._source.name)
        self.capture.notes += self._source.notes
        self._observation = None
        self._fresh = False
        self._saved = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def reset(self, *args: Any, **kwargs: Any) -> Any:
        """The environment's reset."""
        answer = self.env.reset(*args, **kwargs)
        self._observation = self._row(answer[0] if isinstance(answer, tuple) else answer)
        self._fresh = True
        return answer

    def get_observations(self, *args: Any, **kwargs: Any) -> Any:
        """The environment's observations, where it has such a method."""
        answer = self.env.get_observations(*args, **kwargs)
        self._observation = self._row(answer[0] if isinstance(answer, tuple) else answer)
        return answer

    def step(self, action: Any) -> Any:
        """The environment's step; what led to the action is kept."""
        values = None
        if not self._saved and self._observation is not None:
            # Copies: the simulator writes the next state into the same memory.
            values = {key: np.array(_numpy(value)) for key, value in self._source.state().items()}
            values["observation"] = self._observation
            values["action"] = self._row(action)
            length = getattr(self._inner, "episode_length_buf", None)
            fresh = self._fresh
            if length is not None:
                # legged_gym's reset makes one step with an action of zero.
                first = self._source.name == "legged_gym" and not len(self.capture)
                fresh = bool(_numpy(length)[self._index] <= (1 if first else 0))
        answer = self.env.step(action)
        done = self._done(answer)
        if values is not None:
            target = self._source.target()
            if target is not None:
                values["joint_target"] = np.full_like(target, np.nan) if done else target
            self.capture.add(reset=fresh, **values)
        self._observation, self._fresh = self._row(answer[0]), done
        if len(self.capture) >= self._steps and not self._saved:
            self.save()
        return answer

    def close(self) -> Any:
        """Write what there is, and close the environment."""
        if len(self.capture) and not self._saved:
            self.save()
        return self.env.close()

    def save(self) -> None:
        """Write the capture now."""
        self.capture.save(self._path)
        self._saved = True
        print(f"gaitd_capture: wrote {self._path}: {len(self.capture)} steps of {self.capture.writer}")

    def _row(self, value: Any) -> Any:
        """This robot's values, of an array, a batch, or a dictionary of observations."""
        if hasattr(value, "keys"):
            there = list(value.keys())
            key = next((key for key in ("policy", "actor", "obs", "observation") if key in there), None)
            if key is None:
                raise ValueError(f"the policy's observation is none of {', '.join(map(str, there))}")
            value = value[key]
            if hasattr(value, "keys"):  # terms that were not concatenated
                return np.concatenate([self._row(value[key]) for key in list(value.keys())])
        array = np.array(_numpy(value), np.float32)
        return array[self._index].ravel() if array.ndim > 1 else array

    def _done(self, answer: Any) -> bool:
        flags = [getattr(self._inner, "reset_buf", None)]
        if flags[0] is None:
            flags = list(answer[2:4] if len(answer) == 5 else answer[2:3])
        each = [np.ravel(_numpy(flag)) for flag in flags]
        return any(bool(flag[self._index if flag.size > 1 else 0]) for flag in each)


class _Scene:
    """Isaac Lab's and mjlab's manager-based environments: the robot's data in the scene."""

    def __init__(self, env: Any, index: int, robot: str, joints: Any, command: Any) -> None:
        self._env, self._index, self._robot = env, index, env.scene[robot]
        self._data = self._robot.data
        names = getattr(self._robot, "joint_names", None) or self._data.joint_names
        self.joints, self._order = _chosen(list(names), joints)
        self.period_s = float(env.step_dt)
        self.name = "mjlab" if type(env).__module__.startswith("mjlab") else "isaaclab"
        self.notes: Any = []
        self._command = command if callable(command) else self._command_of(command)

    def _command_of(self, name: Any) -> Any:
        manager: Any = getattr(self._env, "command_manager", None)
        terms = [] if manager is None else list(manager.active_terms)
        for term in [name] if name else terms:
            if np.shape(_numpy(manager.get_command(term)))[-1] in (3, 4):
                self.notes.append(f"velocity_command: the command {term}")
                return lambda env: _numpy(manager.get_command(term))[self._index][:3]
        self.notes.append("velocity_command: none in the environment, taken as zero")
        return lambda env: np.zeros(3)

    def _get(self, *names: str) -> Any:
        for name in names:
            value = getattr(self._data, name, None)
            if value is not None:
                return _numpy(value)[self._index]
        raise ValueError(f"the robot's data has none of {', '.join(names)}")

    def state(self) -> Any:
        values = {
            "joint_position": self._get("joint_pos")[self._order],
            "joint_velocity": self._get("joint_vel")[self._order],
            "angular_velocity": self._get("root_ang_vel_b", "root_link_ang_vel_b"),
            "linear_velocity": self._get("root_lin_vel_b", "root_link_lin_vel_b"),
            "orientation": self._get("root_quat_w", "root_link_quat_w"),
            "projected_gravity": self._get("projected_gravity_b"),
            "velocity_command": self._command(self._env),
        }
        if getattr(self._data, "applied_torque", None) is not None:
            values["joint_torque"] = self._get("applied_torque")[self._order]
        return values

    def target(self) -> Any:
        if getattr(self._data, "joint_pos_target", None) is None:
            return None
        return np.array(self._get("joint_pos_target"), np.float32)[self._order]


class _LeggedGym:
    """legged_gym and what descends from it; its quaternions are x, y, z, w."""

    def __init__(self, env: Any, index: int, joints: Any, command: Any) -> None:
        self._env, self._index = env, index
        self.joints, self._order = _chosen(list(env.dof_names), joints)
        self.period_s, self.name = float(env.dt), "legged_gym"
        self.notes: Any = []
        self._command = command if callable(command) else lambda env: _numpy(env.commands)[index][:3]

    def state(self) -> Any:
        def get(name: str) -> Any:
            return _numpy(getattr(self._env, name))[self._index]

        return {
            "joint_position": get("dof_pos")[self._order],
            "joint_velocity": get("dof_vel")[self._order],
            "joint_torque": get("torques")[self._order],
            "angular_velocity": get("base_ang_vel"),
            "linear_velocity": get("base_lin_vel"),
            "orientation": get("root_states")[[6, 3, 4, 5]],
            "projected_gravity": get("projected_gravity"),
            "velocity_command": self._command(self._env),
        }

    def target(self) -> Any:
        return None


class _MuJoCo:
    """Environments that keep MuJoCo's own model and data, as gymnasium's do; the base is the free joint."""

    def __init__(self, env: Any, joints: Any, command: Any) -> None:
        self._env, model = env, env.model
        free = [i for i in range(model.njnt) if model.jnt_type[i] == 0]
        if not free:
            raise TypeError("the MuJoCo model has no free joint: its base does not move freely")
        self._base_q, self._base_v = int(model.jnt_qposadr[free[0]]), int(model.jnt_dofadr[free[0]])
        hinges = [i for i in range(model.njnt) if model.jnt_type[i] in (2, 3)]
        self.joints, order = _chosen([model.joint(i).name for i in hinges], joints)
        chosen = np.array(hinges)[order]
        self._q, self._v = model.jnt_qposadr[chosen], model.jnt_dofadr[chosen]
        self.period_s = float(getattr(env, "dt", model.opt.timestep))
        self.name, self.notes = "gymnasium", []
        if not callable(command):
            self.notes.append("velocity_command: none given, taken as zero")
        self._command = command if callable(command) else lambda env: np.zeros(3)

    def state(self) -> Any:
        data, q, v = self._env.data, self._base_q, self._base_v
        orientation = np.array(data.qpos[q + 3 : q + 7])
        return {
            "joint_position": data.qpos[self._q],
            "joint_velocity": data.qvel[self._v],
            "joint_torque": data.qfrc_actuator[self._v],
            # A free joint's angular velocity is in the base frame, its linear velocity in the world frame.
            "angular_velocity": data.qvel[v + 3 : v + 6],
            "linear_velocity": _rotation(orientation).T @ data.qvel[v : v + 3],
            "orientation": orientation,
            "velocity_command": self._command(self._env),
        }

    def target(self) -> Any:
        return None


def _source(env: Any, index: int, robot: str, joints: Any, command: Any) -> Any:
    if hasattr(env, "scene"):
        return _Scene(env, index, robot, joints, command)
    if hasattr(env, "dof_pos") and hasattr(env, "root_states"):
        return _LeggedGym(env, index, joints, command)
    if hasattr(env, "model") and hasattr(getattr(env, "data", None), "qpos"):
        return _MuJoCo(env, joints, command)
    raise TypeError(
        f"{type(env).__name__} is no environment that gaitd_capture knows (a scene with a robot, dof_pos and "
        "root_states, or MuJoCo's model and data): hand over each step with Capture.add"
    )


def _chosen(names: Any, joints: Any) -> Any:
    """The joints to record, and where they are among all of the environment's."""
    joints = list(joints or names)
    missing = [name for name in joints if name not in names]
    if missing:
        raise ValueError(f"joint {missing[0]!r} is none of the environment's: {', '.join(names)}")
    return joints, np.array([names.index(name) for name in joints])


def _rotation(quaternion: Any) -> Any:
    w, x, y, z = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def _numpy(value: Any) -> Any:
    value = getattr(value, "torch", value)  # Isaac Lab's proxies of warp arrays
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)
