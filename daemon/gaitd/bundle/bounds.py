"""What a manifest may ask for, whoever wrote it: printable text, and sizes before anything is made.

A policy of a legged robot stays far below every bound; beyond it a bundle would take memory and time from the
controller that runs beside gaitd.
"""

from __future__ import annotations

import math
import re

from gaitd.errors import InputError, printable
from gaitd.policy.manifest import Manifest
from gaitd.policy.sources import term_size
from gaitd.wire.generated import MAX_JOINTS

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

_NAME = re.compile(r"[\w.+:/@(),#-]+( [\w.+:/@(),#-]+)*")
"""Words between single blanks, without what separates fields in a log line."""


def check_bounds(manifest: Manifest) -> None:
    """Raise InputError, naming the key, for text that is not printable and for sizes beyond the bounds."""
    _check_text(manifest)
    if not 1 <= len(manifest.joints) <= MAX_JOINTS:
        raise InputError(f"joints: expected 1 to {MAX_JOINTS}, got {len(manifest.joints)}")
    _check_observation(manifest)
    _check_at_most("model.recurrent", len(manifest.model.recurrent), MAX_RECURRENT)
    for index, state in enumerate(manifest.model.recurrent):
        if min(state.shape, default=1) < 1 or len(state.shape) > 8:
            raise InputError(
                f"model.recurrent[{index}].shape: expected up to 8 sizes above 0, got {state.shape}"
            )
        _check_at_most(f"model.recurrent[{index}].shape", math.prod(state.shape), MAX_HIDDEN)


def _check_observation(manifest: Manifest) -> None:
    observation = manifest.observation
    history = observation.history
    _check_at_most("observation.terms", len(observation.terms), MAX_TERMS)
    _check_at_most("observation.history.length", history.length, MAX_FRAMES)
    frame = total = depth = 0
    for index, term in enumerate(observation.terms):
        key = f"observation.terms[{index}]"
        length = history.length if term.history_length is None else term.history_length
        _check_at_most(f"{key}.history_length", length, MAX_FRAMES)
        _check_at_most(f"{key}.delay_steps", term.delay_steps, MAX_FRAMES)
        width = term_size(term.term, len(manifest.joints))
        frame, total, depth = frame + width, total + width * length, max(depth, length + term.delay_steps)
    _check_at_most("observation: its terms and history make", total, MAX_OBSERVATION_DIM)
    _check_at_most("observation: with its delays it remembers", frame * depth, MAX_REMEMBERED)


def _check_at_most(key: str, value: int, limit: int) -> None:
    if value > limit:
        raise InputError(f"{key}: {value} is more than the {limit} that a policy may have")


def _check_text(manifest: Manifest) -> None:
    model = manifest.model
    names = {
        "name": manifest.name,
        "version": manifest.version,
        "robot": manifest.robot,
        "model.input": model.input,
        "model.output": model.output,
        **{f"joints[{index}]": joint for index, joint in enumerate(manifest.joints)},
        **{f"model.recurrent[{index}].input": state.input for index, state in enumerate(model.recurrent)},
        **{f"model.recurrent[{index}].output": state.output for index, state in enumerate(model.recurrent)},
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


def _shown(text: str) -> str:
    """A quotation that is safe to print and not long."""
    return ascii(text[:40]) + ("..." if len(text) > 40 else "")
