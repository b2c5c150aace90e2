"""Lets rknn-toolkit2 be imported without torch.

The toolkit imports torch at start-up, but uses it only for loading PyTorch models and for one
quantization algorithm (gdq) that the RK3588 does not offer. Without this stand-in the environment
would need torch and, on a workstation, gigabytes of CUDA for nothing. Whatever would really need
torch ends in an error that says so.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any


class _Unavailable:
    """Base of every class that is looked up in the stand-in; can be subclassed, not created."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("this function of rknn-toolkit2 needs torch, which its environment leaves out")


def _no_grad() -> Callable[[Any], Any]:
    return lambda function: function


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _no_grad if name == "no_grad" else _Unavailable


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "torch":
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = _Module(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    """Answer every import of torch from now on with the stand-in."""
    sys.meta_path.insert(0, _Finder())
