"""The YAML of a LEAPP export, the way that Isaac Lab documents for policies.

The exported model holds scales, history, last action and the mapping to joint targets itself: it takes sensor
values, tensor by tensor, and gives joint position targets. Gains are constant outputs of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaitd.bundle.models import MODEL_NAME
from gaitd.errors import InputError
from gaitforge.bundle.importers.accounting import Account, Section
from gaitforge.bundle.importers.draft import NO_VELOCITY_TARGETS, Draft, Source
from gaitforge.bundle.importers.values import Joints, gains, number, numbers
from gaitforge.common import files

STATES = {
    "joint_pos": "joint_position",
    "joint_vel": "joint_velocity",
    "projected_gravity_b": "projected_gravity",
    "root_ang_vel_b": "base_angular_velocity",
    "root_lin_vel_b": "base_linear_velocity",
}
"""Isaac Lab's properties of the robot; all other states have no term in a manifest."""
JOINT_TERMS = ("joint_position", "joint_velocity")

TOP = {"system information": "versions of the machine that exported"}
MODEL = {
    "md5sum": "the sha256 is there too",
    "warp_segments": "of other backends",
    "sha256sum": "pack writes the hash of the model that it packs",
}
TENSOR = {"dtype": "the model says it", "type": "of the exporter", "shape": "comes from the term"}
"""Keys that mean nothing to a manifest, and why."""


def read(source: Source) -> Draft:
    """Read one YAML and the model beside it. Raises InputError."""
    (path,) = source.paths
    account = Account(str(path), source.ignored)
    top = account.open(files.read_yaml(path, "the file"))
    top.take("models")
    top.take("pipeline")
    models, pipeline = top.section("models"), top.section("pipeline")
    if len(models.names()) != 1:
        raise InputError(
            f"{top.name('models')}: {', '.join(models.names()) or 'none'}; the wiring of several is not "
            "read: write the manifest's section models by hand (docs/robots.md)"
        )
    (node,) = models.names()
    model = models.section(node)
    inputs = _tensors(model, "inputs")
    outputs = _tensors(model, "outputs")
    feedback = _feedback(pipeline, node)
    draft = Draft()
    targets = [name for name, tensor in outputs.items() if _connection(tensor)[-1].startswith("set_joint_")]
    if len(targets) != 1 or "position" not in _connection(outputs[targets[0]])[-1]:
        raise InputError(
            f"{model.name('outputs')}: {', '.join(targets) or 'no joint targets'}; expected joint position "
            f"targets alone. {NO_VELOCITY_TARGETS.capitalize()}"
        )
    joints = _joints(outputs[targets[0]])
    seen = {key: value for key, value in inputs.items() if key not in feedback}
    terms = _terms(seen, joints, draft)
    draft.manifest = {
        "format": 2,
        "joints": joints,
        "observation": {"parts": [{"name": name} for name in seen], "terms": terms},
        "action": {"scale": 1.0, "offset": 0.0},
    }
    configs = pipeline.section("configs")
    if configs.get("frequency") is not None:
        frequency = number(configs.take("frequency"), configs.name("frequency"))
        draft.manifest["control_period_s"] = round(1.0 / frequency, 9)
    parameters = model.section("parameters")
    file = path.parent / str(parameters.take("model_path"))
    draft.manifest["models"] = [
        {
            "name": _model_name(file, draft),
            "inputs": {name: [name] for name in seen},
            "output": targets[0],
            "unused_outputs": [name for name in outputs if name not in (targets[0], *feedback.values())],
            "recurrent": [
                {"input": into, "output": out, "shape": _shape(inputs, into)}
                for into, out in feedback.items()
            ],
            "backend": "onnx",
        }
    ]
    _gains(file, parameters, outputs, len(joints), draft)
    draft.lose("the default joint position: not in the file", "default_joint_position_rad")
    draft.lose("the range of the velocity command: not in the file", "velocity_command")
    draft.lose("the NPU: the model takes and gives several tensors, and so runs on the CPU", "models")
    if feedback:
        draft.lose(
            f"the feedback of {', '.join(sorted(feedback))} is inside the model: it does not see what "
            "a limit held back"
        )
    if pipeline.get("initial_values") is not None:
        draft.lose(f"{pipeline.path('initial_values')}: states of the model begin with 0 here")
    pipeline.skip({"data_flow": "there is one model", "inputs": "the model's", "outputs": "the model's"})
    top.skip(TOP)
    for ignored in account.finish():
        draft.lose(f"{ignored}: --ignore says so")
    return draft


def _tensors(model: Section, key: str) -> dict[str, Section]:
    tensors = {}
    model.take(key)
    for tensor in model.entries(key):
        tensor.skip(TENSOR)
        tensor.get("kind")
        tensor.get("element_names")
        tensors[str(tensor.take("name"))] = tensor
    return tensors


def _feedback(pipeline: Section, node: str) -> dict[str, str]:
    """Inputs that the model itself gives in the step before, and the outputs that they come from."""
    flow, own = pipeline.section("feedback_flow"), f"{node}/"
    return {
        str(target).removeprefix(own): key.removeprefix(own)
        for key in flow.names()
        for target in flow.items(key)
    }


def _shape(inputs: dict[str, Section], name: str) -> list[int]:
    if name not in inputs:
        raise InputError(f"feedback_flow: {name!r} is no input of the model; it has {', '.join(inputs)}")
    shape = inputs[name].items("shape")
    if not shape or not all(type(size) is int and size > 0 for size in shape):
        raise InputError(f"{inputs[name].name('shape')}: expected the sizes of a hidden state, got {shape!r}")
    return shape


def _model_name(file: Path, draft: Draft) -> str:
    """What the model's file in a bundle is called."""
    if MODEL_NAME.fullmatch(file.stem):
        return file.stem
    draft.lose(f"the name of {file.name}: pack takes it as policy.onnx", "models")
    return "policy"


def _connection(tensor: Section) -> list[str]:
    return str(tensor.get("isaaclab_connection", "")).split(":")


def _joints(tensor: Section) -> list[str]:
    names = tensor.items("element_names")
    names = names[0] if names and isinstance(names[0], list) else names
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{tensor.name('element_names')}: expected the names of joints, got {names!r}")
    return names


def _terms(inputs: dict[str, Section], joints: list[str], draft: Draft) -> list[dict[str, Any]]:
    terms = []
    for name, tensor in inputs.items():
        kind, *rest = _connection(tensor)
        made = STATES.get(rest[-1]) if kind == "state" and rest[:1] == ["robot"] else None
        made = "velocity_command" if kind == "command" else made
        if made is None:
            where = tensor.name("isaaclab_connection")
            draft.refuse(
                f"{where}: the input {name!r}: a manifest has no such term; what a controller can send is "
                "a named input of format 2 (docs/robots.md)",
                "observation.terms",
            )
        elif made in JOINT_TERMS and tensor.get("element_names") is not None and _joints(tensor) != joints:
            raise InputError(
                f"{tensor.name('element_names')}: not the joints of the targets, or another order"
            )
        else:
            terms.append({"term": made, "part": name})
    return terms


def _gains(file: Path, parameters: Section, outputs: dict[str, Section], length: int, draft: Draft) -> None:
    """Run the model once: its gains are outputs that do not depend on the inputs."""
    parameters.skip(MODEL)
    backend = str(parameters.take("backend"))
    names = {kind: name for name, tensor in outputs.items() if (kind := tensor.get("kind")) in ("kp", "kd")}
    if not backend.startswith("onnx") or len(names) != 2:
        draft.lose("gains: not in an ONNX model", "action.stiffness_nm_per_rad")
        return
    import onnxruntime

    files.existing(file, "the model")
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        zeros = {
            tensor.name: np.zeros([size if isinstance(size, int) else 1 for size in tensor.shape], np.float32)
            for tensor in session.get_inputs()
        }
        found = session.run(list(names.values()), zeros)
    except Exception as error:  # the runtime lets out kinds of its own
        raise InputError(f"{file}: cannot be run to read its gains: {error}") from error
    values: dict[str, Joints] = {
        kind: numbers([float(gain) for gain in np.ravel(array)], length, f"{file}: {names[kind]}")
        for kind, array in zip(names, found, strict=True)
    }
    gains(draft, values["kp"], values["kd"], str(file))
