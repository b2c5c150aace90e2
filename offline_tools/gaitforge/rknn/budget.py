"""A manifest's bound on what a model takes of the NPU's memory, beside what the toolkit's log says."""

from __future__ import annotations

from pathlib import Path

from gaitd.errors import InputError
from gaitd.policy.manifest import Manifest


def budget_of(manifest: Manifest, rknn: Path) -> float | None:
    """Of the model that NAME.rknn is of, KiB; None: no bound. Raises InputError where no model is."""
    if not manifest.models:
        return manifest.model.npu_memory_kib
    budgets = {model.name: model.npu_memory_kib for model in manifest.models}
    if rknn.stem not in budgets:
        raise InputError(f"{rknn}: the manifest has several models: name it as one of {', '.join(budgets)}")
    return budgets[rknn.stem]


def check_budget(
    budget_kib: float | None, weights_kib: float | None, internal_kib: float | None, rknn: Path
) -> None:
    """Raise InputError where the model takes more, or the log does not say what. gaitd asks the runtime."""
    if budget_kib is None:
        return
    if weights_kib is None or internal_kib is None:
        raise InputError(
            f"{rknn}: the toolkit's log does not tell what it takes of the NPU's memory, which the "
            f"manifest's npu_memory_kib bounds to {budget_kib:g} KiB: convert it with a toolkit that does"
        )
    if weights_kib + internal_kib > budget_kib:
        raise InputError(
            f"{rknn} takes {weights_kib + internal_kib:.1f} KiB of the NPU's memory (weights and internal), "
            f"but the manifest's npu_memory_kib is {budget_kib:g}: make the network smaller, or raise "
            "the bound"
        )
