"""The models of a bundle, looked at without running them."""

from __future__ import annotations

from collections.abc import Mapping

from gaitd.bundle.onnx_file import check_self_contained
from gaitd.bundle.rknn_file import read_rknn_file, version_numbers
from gaitd.errors import InputError

CHIP = "rk3588"
"""The chip whose NPU gaitd runs policies on."""


def check_models(files: Mapping[str, bytes]) -> None:
    """Refuse a model.onnx that refers to other files, and a model.rknn that is none or for another chip.

    Raises InputError, which does not know where the bundle is.
    """
    if "model.onnx" in files:
        check_self_contained(files["model.onnx"])
    if "model.rknn" in files:
        made = read_rknn_file(files["model.rknn"])
        if CHIP not in made.platforms:
            raise InputError(
                f"model.rknn was converted for {', '.join(made.platforms) or 'no chip'}, but gaitd runs on "
                f"the {CHIP}: convert the policy again with `gaitforge convert --target {CHIP}`"
            )
        if version_numbers(made.toolkit) is None:
            raise InputError(
                f"model.rknn does not tell the version of its rknn-toolkit2 ({made.toolkit[:40]!r}): convert "
                "the policy again with `gaitforge convert`"
            )
