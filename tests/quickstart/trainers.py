"""The walking policy of the examples as each trainer would have saved it, and a deploy.yaml of it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from onnx import load_from_string, numpy_helper
from torch import nn

from gaitforge.simulate.model import model_xml
from support.guide import ROOT

Weights = dict[str, torch.Tensor]
BUNDLE = ROOT / "examples/lite3_walk/lite3_walk.gaitd"
MANIFEST = ROOT / "examples/lite3_walk/manifest.yaml"
LAYERS = 3
SCENE = '<mujoco><include file="robot.xml"/><worldbody><light pos="0 0 3"/></worldbody></mujoco>'
"""As a deploy repository has one beside its robot."""


def write(training: Path) -> None:
    """All that docs/quickstart/policy.md reads below ~/training."""
    layers = walking_layers()
    state: Weights = {"std": torch.ones(12), **named(layers, ["actor.0", "actor.2", "actor.4"])}
    _save(training / "rsl_rl/model_5000.pt", {"model_state_dict": state, "iter": 5000, "infos": None})
    _write_yaml(training / "rsl_rl/params/agent.yaml", {"policy": {"activation": "elu"}})
    _save(training / "legged_gym/model_1500.pt", {"model_state_dict": state, "iter": 1500, "infos": None})
    _save_skrl(training / "skrl", layers)
    _save_rl_games(training / "rl_games", layers)
    _save_sb3(training / "sb3/model.zip", layers)
    _save_script(training / "exported/policy.pt", layers)
    _write_yaml(training / "unitree/params/deploy.yaml", deploy())
    _write_text(training / "robot/robot.xml", model_xml())
    _write_text(training / "robot/scene.xml", SCENE)


def walking_layers() -> list[Weights]:
    """Weight and bias of each linear layer; ELU is between them."""
    with zipfile.ZipFile(BUNDLE) as bundle:
        model = load_from_string(bundle.read("model.onnx"))
    arrays = {each.name: numpy_helper.to_array(each).copy() for each in model.graph.initializer}
    return [
        {kind: torch.from_numpy(arrays[f"layer{index}.{kind}"]) for kind in ("weight", "bias")}
        for index in range(LAYERS)
    ]


def named(layers: list[Weights], prefixes: list[str]) -> Weights:
    pairs = zip(layers, prefixes, strict=True)
    return {f"{prefix}.{kind}": tensor for layer, prefix in pairs for kind, tensor in layer.items()}


def _save(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def _write_yaml(path: Path, content: object) -> None:
    _write_text(path, yaml.safe_dump(content))


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _save_skrl(folder: Path, layers: list[Weights]) -> None:
    content = {
        "policy": named(layers, ["net_container.0", "net_container.2", "policy_layer"]),
        "state_preprocessor": {
            "running_mean": torch.zeros(45, dtype=torch.float64),
            "running_variance": torch.ones(45, dtype=torch.float64),
            "current_count": torch.ones((), dtype=torch.float64),
        },
    }
    _save(folder / "checkpoints/agent_50000.pt", content)
    network = {"name": "net", "input": "STATES", "layers": [128, 64], "activations": "elu"}
    _write_yaml(folder / "params/agent.yaml", {"models": {"policy": {"network": [network]}}})


def _save_rl_games(folder: Path, layers: list[Weights]) -> None:
    network = named(layers, ["actor_mlp.0", "actor_mlp.2", "mu"])
    model: dict[str, Any] = {f"a2c_network.{key}": tensor for key, tensor in network.items()}
    model["a2c_network.sigma"] = torch.zeros(12)
    model["running_mean_std.running_mean"] = torch.zeros(45, dtype=torch.float64)
    model["running_mean_std.running_var"] = torch.ones(45, dtype=torch.float64)
    model["running_mean_std.count"] = torch.ones((), dtype=torch.float64)
    _save(folder / "nn/Lite3.pth", {"model": model, "epoch": 100})
    params = {"network": {"mlp": {"activation": "elu"}}, "config": {"clip_actions": False}}
    _write_yaml(folder / "params/agent.yaml", {"params": params})


def _save_sb3(path: Path, layers: list[Weights]) -> None:
    prefixes = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
    buffer = io.BytesIO()
    torch.save({**named(layers, prefixes), "log_std": torch.zeros(12)}, buffer)
    kwargs = {":serialized:": "gASV", "activation_fn": "<class 'torch.nn.modules.activation.ELU'>"}
    space = {":serialized:": "gASV", "low_repr": "-6.0", "high_repr": "6.0"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", json.dumps({"action_space": space, "policy_kwargs": kwargs}))
        file.writestr("policy.pth", buffer.getvalue())
        file.writestr("_stable_baselines3_version", "2.9.2")


def _save_script(path: Path, layers: list[Weights]) -> None:
    modules: list[nn.Module] = []
    for layer in layers:
        linear = nn.Linear(layer["weight"].shape[1], layer["weight"].shape[0])
        linear.load_state_dict(layer)
        modules += [linear, nn.ELU()]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.script(nn.Sequential(*modules[:-1])).save(str(path))


def deploy() -> dict[str, Any]:
    """What unitree_rl_lab would write of the same contract."""
    contract = yaml.safe_load(MANIFEST.read_text())
    default = contract["default_joint_position_rad"]
    scale = contract["action"]["scale"]
    ranges = {name: [-1.0, 1.0] for name in ("lin_vel_x", "lin_vel_y", "ang_vel_z")}
    widths_and_scales = {
        "base_ang_vel": [0.25] * 3,
        "projected_gravity": [1.0] * 3,
        "velocity_commands": [0.8] * 3,
        "joint_pos_rel": [1.0] * 12,
        "joint_vel_rel": [0.05] * 12,
        "last_action": [1.0] * 12,
    }
    return {
        "joint_ids_map": list(range(12)),
        "step_dt": contract["control_period_s"],
        "stiffness": [contract["action"]["stiffness_nm_per_rad"]] * 12,
        "damping": [contract["action"]["damping_nms_per_rad"]] * 12,
        "default_joint_pos": default,
        "commands": {"base_velocity": {"ranges": {**ranges, "heading": None}}},
        "actions": {
            "JointPositionAction": {
                "clip": [[-6.0, 6.0]] * 12,
                "joint_names": [".*"],
                "scale": scale,
                "offset": default,
                "joint_ids": None,
            }
        },
        "observations": {
            name: {"params": {}, "clip": None, "scale": scales, "history_length": 1}
            for name, scales in widths_and_scales.items()
        },
    }
