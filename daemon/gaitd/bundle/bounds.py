"""What a manifest may ask for, whoever wrote it: printable text, and sizes before anything is made.

A policy of a legged robot stays far below every bound; beyond it a bundle would take memory and time from the
controller that runs beside gaitd.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gaitd.bundle.models import MODEL_NAME
from gaitd.errors import InputError, printable
from gaitd.policy.manifest import AXES, Manifest, RecurrentState
from gaitd.policy.sources import declared_sizes, term_width
from gaitd.policy.stream import MAX_ENCODER_VALUES, MAX_STREAM_VALUES, MAX_STREAMS
from gaitd.wire.generated import MAX_INPUT_VALUES, MAX_INPUTS, MAX_JOINTS

MAX_NAME = 100
"""Characters of a name or version: it goes into log lines, `systemctl status` and metrics."""
MAX_TEXT = 500
"""Characters of a description or of one entry of the provenance."""
MAX_PROVENANCE = 100
"""Entries of the provenance."""
MAX_TERMS = 64
MAX_FRAMES = 1000
"""Of history and delay: 4 s at 250 Hz."""
MAX_OBSERVATION_DIM = 8192
"""32 kB of float32, half of what one message may have."""
MAX_REMEMBERED = 65536
"""Values in all remembered frames, which are moved by one in every step: 256 kB."""
MAX_RECURRENT = 16
MAX_HIDDEN = 65536
"""Values in one hidden state of the model."""

MAX_MODELS = 8
_NAME = re.compile(r"[\w.+:/@(),#-]+( [\w.+:/@(),#-]+)*")
"""Words between single blanks, without what separates fields in a log line."""


def check_bounds(manifest: Manifest) -> None:
    """Raise InputError, naming the key, for text that is not printable and for sizes beyond the bounds."""
    _check_text(manifest)
    if not 1 <= len(manifest.joints) <= MAX_JOINTS:
        raise InputError(f"joints: expected 1 to {MAX_JOINTS}, got {len(manifest.joints)}")
    _check_declared(manifest)
    _check_observation(manifest)
    _check_recurrent(manifest.model.recurrent, "model")
    _check_at_most("models", len(manifest.models), MAX_MODELS)
    for index, model in enumerate(manifest.models):
        _check_recurrent(model.recurrent, f"models[{index}]")
        _check_at_most(f"models[{index}].size", model.size or 0, MAX_OBSERVATION_DIM)
        _check_at_most(f"models[{index}].inputs", len(model.inputs), MAX_RECURRENT)


def _check_recurrent(states: Sequence[RecurrentState], where: str) -> None:
    _check_at_most(f"{where}.recurrent", len(states), MAX_RECURRENT)
    for index, state in enumerate(states):
        if min(state.shape, default=1) < 1 or len(state.shape) > 8:
            raise InputError(
                f"{where}.recurrent[{index}].shape: expected up to 8 sizes above 0, got {state.shape}"
            )
        _check_at_most(f"{where}.recurrent[{index}].shape", math.prod(state.shape), MAX_HIDDEN)


def _check_declared(manifest: Manifest) -> None:
    _check_at_most("inputs", len(manifest.inputs), MAX_INPUTS)
    _check_at_most("inputs: values in all", sum(each.size for each in manifest.inputs), MAX_INPUT_VALUES)
    _check_at_most("streams", len(manifest.streams), MAX_STREAMS)
    for index, stream in enumerate(manifest.streams):
        _check_at_most(f"streams[{index}].shape: its values", stream.size, MAX_STREAM_VALUES)
        if stream.encoder is not None:
            key = f"streams[{index}].encoder.takes.shape: its values"
            _check_at_most(key, stream.encoder.takes.size, MAX_ENCODER_VALUES)
    _check_at_most("phases", len(manifest.phases), MAX_TERMS)
    for name, phase in manifest.phases.items():
        _check_at_most(f"phases.{name}.offsets_turns", len(phase.offsets_turns), MAX_TERMS)
        _check_at_most(f"phases.{name}.functions", len(phase.functions), MAX_TERMS)
    if manifest.motion is not None:
        _check_at_most("motion.arrays", len(manifest.motion.arrays), MAX_TERMS)
        for name, size in manifest.motion.arrays.items():
            if size < 1:
                raise InputError(f"motion.arrays.{name}: expected at least 1 value, got {size}")
    total = sum(declared_sizes(manifest).values())
    _check_at_most("inputs, streams, phases and motion: values in all", total, MAX_OBSERVATION_DIM)


def _check_observation(manifest: Manifest) -> None:
    observation = manifest.observation
    histories = {part.name: part.history for part in observation.parts}
    _check_at_most("observation.terms", len(observation.terms), MAX_TERMS)
    _check_at_most("observation.parts", len(observation.parts), MAX_TERMS)
    _check_at_most("observation.raw_size", observation.raw_size or 0, MAX_OBSERVATION_DIM)
    _check_at_most("observation.history.length", observation.history.length, MAX_FRAMES)
    for index, part in enumerate(observation.parts):
        _check_at_most(f"observation.parts[{index}].history.length", part.history.length, MAX_FRAMES)
    frame = total = depth = 0
    for index, term in enumerate(observation.terms):
        key = f"observation.terms[{index}]"
        history = histories.get(term.part or "", observation.history)
        length = history.length if term.history_length is None else term.history_length
        _check_at_most(f"{key}.history_length", length, MAX_FRAMES)
        _check_at_most(f"{key}.delay_steps", term.delay_steps, MAX_FRAMES)
        _check_at_most(f"{key}.joints", len(term.joints or []), MAX_JOINTS)
        _check_at_most(f"{key}.axes", len(term.axes or ()), len(AXES))
        width = term_width(manifest, term)
        frame, total, depth = frame + width, total + width * length, max(depth, length + term.delay_steps)
    _check_at_most("observation: its terms and history make", total, MAX_OBSERVATION_DIM)
    _check_at_most("observation: with its delays it remembers", frame * depth, MAX_REMEMBERED)


def _check_at_most(key: str, value: int, limit: int) -> None:
    if value > limit:
        raise InputError(f"{key}: {value} is more than the {limit} that a policy may have")


def _check_text(manifest: Manifest) -> None:
    model, parts = manifest.model, manifest.observation.parts
    motion = {} if manifest.motion is None else manifest.motion.arrays
    names = {
        "name": manifest.name,
        "version": manifest.version,
        "robot": manifest.robot,
        "model.input": model.input,
        "model.output": model.output,
        **{f"joints[{index}]": joint for index, joint in enumerate(manifest.joints)},
        **{f"model.recurrent[{index}].input": state.input for index, state in enumerate(model.recurrent)},
        **{f"model.recurrent[{index}].output": state.output for index, state in enumerate(model.recurrent)},
        **{f"inputs[{index}].name": each.name for index, each in enumerate(manifest.inputs)},
        **{f"inputs[{index}].unit": each.unit for index, each in enumerate(manifest.inputs)},
        **{f"streams[{index}].name": each.name for index, each in enumerate(manifest.streams)},
        **{f"streams[{index}].unit": each.unit for index, each in enumerate(manifest.streams)},
        **{f"observation.parts[{index}].name": part.name for index, part in enumerate(parts)},
        **{f"a name under phases ({_shown(name)})": name for name in manifest.phases},
        **{f"a name under motion.arrays ({_shown(name)})": name for name in motion},
        **_model_names(manifest),
        **_encoder_names(manifest),
    }
    for key, text in names.items():
        if len(text) > MAX_NAME or not _NAME.fullmatch(text):
            raise InputError(
                f"{key}: {_shown(text)} is no name: at most {MAX_NAME} letters, digits and .+:/@(),#-_, with "
                "single blanks between words"
            )
    _check_at_most("provenance: its entries", len(manifest.provenance), MAX_PROVENANCE)
    texts = {"description": manifest.description}
    for key, text in manifest.provenance.items():
        texts |= {f"a key of provenance ({_shown(key)})": key, f"provenance.{printable(key, 40)}": text}
    for key, text in texts.items():
        if len(text) > MAX_TEXT or not text.isprintable():
            raise InputError(
                f"{key}: {_shown(text)}: expected one line of at most {MAX_TEXT} printable characters"
            )


def _model_names(manifest: Manifest) -> dict[str, str]:
    """Names of models and their tensors."""
    names = {}
    for index, model in enumerate(manifest.models):
        where = f"models[{index}]"
        _check_model_name(f"{where}.name", model.name)
        names[f"{where}.output"] = model.output
        names |= {f"{where}.inputs, {_shown(tensor)}": tensor for tensor in model.inputs}
        names |= {f"{where}.unused_outputs, {_shown(name)}": name for name in model.unused_outputs}
        for state in model.recurrent:
            names |= {f"{where}.recurrent, {_shown(name)}": name for name in (state.input, state.output)}
    return names


def _encoder_names(manifest: Manifest) -> dict[str, str]:
    """Names of encoders' streams and tensors."""
    names: dict[str, str] = {}
    for index, stream in enumerate(manifest.streams):
        encoder, where = stream.encoder, f"streams[{index}].encoder"
        if encoder is None:
            continue
        _check_model_name(f"{where}.model", encoder.model)
        names |= {f"{where}.input": encoder.input, f"{where}.output": encoder.output}
        names |= {f"{where}.takes.name": encoder.takes.name, f"{where}.takes.unit": encoder.takes.unit}
    return names


def _check_model_name(key: str, name: str) -> None:
    if not MODEL_NAME.fullmatch(name):
        raise InputError(f"{key}: {_shown(name)}: expected up to 40 of a-z, 0-9 and _, as of a file")


def _shown(text: str) -> str:
    """A quotation that is safe to print and not long."""
    return ascii(text[:40]) + ("..." if len(text) > 40 else "")
