"""Takes a checkpoint apart and keeps the account: what nobody took is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NoReturn

import torch

from gaitd.errors import InputError
from gaitforge.checkpoint.choices import NO_NORMALIZER, Choices
from gaitforge.checkpoint.config import ActorConfig
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.normalizers import Numbers, agreed, normalizers, statistics
from gaitforge.checkpoint.recipe import Layer, Statistics
from gaitforge.common import console

UNKNOWN = "NOT UNDERSTOOD"

_PROGRESS = "progress of training"

TRAINING_ONLY = {
    r"(\w+_)?optimi[sz]ers?(_state_dict)?\b|\w*scheduler\w*|grad_scaler": "optimizer",
    r"critic(s|_\w+)?\b|qnet\w*|q_network\b|target_q_network\b|target_critic\w*": "critic",
    r"value(s|_\w+)?\b": "value function",
    r"rnd_(state_dict|optimizer_state_dict)\b": "curiosity (RND)",
    r"teacher\w*\b": "teacher",
    r"(log_)?std$|log_alpha$|log_entropy_coefficient$|ent_coef$": "exploration",
    r"(env_state|infos)\.|(iter|epoch|frame|global_step|last_mean_rewards)$": _PROGRESS,
}
"""Keys, or their first part, that acting never needs, whatever the trainer."""

_RNN = re.compile(r"^(?P<owner>.*\.|)(?P<name>(weight|bias)_[ih]h_l\d+)$")


class Claims:
    """Hands out tensors of a checkpoint by key, and remembers to whom."""

    def __init__(self, content: Content, choices: Choices, config: ActorConfig) -> None:
        self.content, self.choices, self.config = content, choices, config
        self._uses: dict[str, str] = {}

    def chain(self, prefixes: Iterable[str]) -> list[Layer]:
        """Take networks that follow each other, with an activation between them."""
        layers: list[Layer] = []
        for prefix in prefixes:
            layers = joined(layers, self.sequential(prefix))
        return layers

    def sequential(self, prefix: str, use: str = "actor") -> list[Layer]:
        """Take the numbered layers below a prefix such as ``actor.``; a prefix of one layer gives that.

        Raises InputError when something there is no linear layer or norm.
        """
        parts: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in self.content.tensors.items():
            match = re.match(r"(\d+)\.(\w+)$", key.removeprefix(prefix)) if key.startswith(prefix) else None
            if match:
                parts.setdefault(int(match[1]), {})[match[2]] = tensor
                self._uses[key] = use
        if not parts:
            return self.linear(prefix, use)
        return [self._layer(index, f"{prefix}{index}", weights) for index, weights in sorted(parts.items())]

    def linear(self, prefix: str, use: str = "actor") -> list[Layer]:
        """Take the layer ``prefix + weight``, as a list of one. Raises InputError when it is not there."""
        weights = {
            name: self.content.tensors[prefix + name]
            for name in ("weight", "bias")
            if prefix + name in self.content.tensors
        }
        if "weight" not in weights:
            self.refuse(f"has no layer {prefix.rstrip('.') or 'at its top'}")
        self._uses.update(dict.fromkeys((prefix + name for name in weights), use))
        return [self._layer(0, prefix.rstrip("."), weights)]

    def _layer(self, index: int, name: str, weights: dict[str, torch.Tensor]) -> Layer:
        weight = weights.get("weight")
        if weight is not None and weight.dim() > 2:
            self.refuse_convolutions([f"{name}.weight"])
        if weight is None or weight.dim() == 0:
            raise InputError(
                f"{self.content.path}: {name} has {', '.join(weights)}, which is no linear layer or norm"
            )
        kind = "linear" if weight.dim() == 2 else "layer_norm"
        if "running_mean" in weights:
            kind = "batch_norm"
        plain = {
            key: tensor if key == "num_batches_tracked" else tensor.float() for key, tensor in weights.items()
        }
        return Layer(index, kind, plain, name)

    def rnn(self, prefix: str) -> dict[str, torch.Tensor]:
        """Take the recurrent layer below a prefix, {} if there is none. Raises InputError for several."""
        owners: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in self.content.tensors.items():
            match = _RNN.match(key) if key.startswith(prefix) else None
            if match and not self._training_only(key.removeprefix(prefix)):
                owners.setdefault(match["owner"], {})[match["name"]] = tensor.float()
        if len(owners) > 1:
            self.refuse(f"has several recurrent layers: {', '.join(owners)}; one is supported")
        for owner, weights in owners.items():
            self._uses.update(dict.fromkeys((owner + name for name in weights), "actor"))
            return weights
        return {}

    def normalizer(self, *candidates: str, told: Callable[[str], Numbers] | None = None) -> Statistics | None:
        """Take the one normalizer among these keys, or the one that --normalizer names.

        ``told``: what the trainer's configuration says of the normalizer of a key. Raises InputError for two,
        when the named one is not there, and where --config contradicts the trainer.
        """
        chosen = self.choices.normalizer
        found = [key for key in candidates if self.content.has(f"{key}.")]
        if chosen == NO_NORMALIZER:
            for key in self._normalizers():
                self.leave(f"{key}.", "--normalizer none")
            return None
        if chosen is not None:
            everything = self._normalizers()
            if chosen not in everything:
                self.refuse(f"has no normalizer {chosen!r} (--normalizer); it has {_listed(everything)}")
            for key in everything:
                self.leave(f"{key}.", "another normalizer is chosen")
            found = [chosen]
        if len(found) > 1:
            self.refuse(
                f"has {len(found)} normalizers of the observation, {' and '.join(found)}: say which one the "
                f"actor was trained with, such as --normalizer {found[0]}"
            )
        if not found:
            return None
        return self._statistics(found[0], Numbers() if told is None else told(found[0]))

    def _normalizers(self) -> list[str]:
        return normalizers(self.content.tensors)

    def _statistics(self, key: str, told: Numbers) -> Statistics:
        tensors = {
            name.removeprefix(f"{key}."): tensor
            for name, tensor in self.content.tensors.items()
            if name.startswith(f"{key}.")
        }
        self._uses.update(dict.fromkeys((f"{key}.{name}" for name in tensors), "normalizer"))
        try:
            said = Numbers(self.config.normalizer_epsilon, self.config.normalizer_clip)
            return statistics(key, tensors, agreed(said, told))
        except InputError as error:
            self.refuse(str(error))

    def leave(self, prefix: str, reason: str) -> None:
        """Mark keys below a prefix, or the key itself, as known and not needed."""
        for key in self.content.tensors:
            if (key.startswith(prefix) or key == prefix) and key not in self._uses:
                self._uses[key] = reason

    def take(self, key: str, use: str) -> torch.Tensor | None:
        """Take a single tensor, None if it is not there."""
        if key in self.content.tensors:
            self._uses[key] = use
        return self.content.tensors.get(key)

    def _training_only(self, key: str) -> str | None:
        return next((why for pattern, why in TRAINING_ONLY.items() if re.match(pattern, key)), None)

    def leave_training_only(self, roots: Iterable[str]) -> None:
        """Mark what acting never needs, at the top and below these prefixes."""
        statistics_of = self._normalizers()
        for key in self.content.tensors:
            for root in ("", *roots):
                reason = self._training_only(key.removeprefix(root)) if key.startswith(root) else None
                if reason is not None and not (reason == _PROGRESS and _group(key) in statistics_of):
                    self._uses.setdefault(key, reason)

    def close(self) -> None:
        """Raise InputError, after a table of what is in the file, unless all of it is accounted for."""
        for name in self.choices.ignore:
            if not any(key == name or key.startswith(f"{name.rstrip('.')}.") for key in self.content.tensors):
                self.refuse(f"has no key {name!r} (--ignore)")
            self.leave(name, "--ignore") if name in self.content.tensors else None
            self.leave(f"{name.rstrip('.')}.", "--ignore")
        left = [key for key in self.content.tensors if key not in self._uses]
        if not left:
            self._report_left_out()
            return
        convolutions = [key for key in left if self.content.tensors[key].dim() > 2]
        if convolutions:
            self.refuse_convolutions(convolutions)
        groups = list(dict.fromkeys(self._name_of(key) for key in left))
        normalizers = [key for key in self._normalizers() if any(_group(one) == key for one in left)]
        what = f"--normalizer {normalizers[0]}, " if normalizers else ""
        self.refuse(
            f"has {len(left)} tensors that nobody took: {_listed(groups)}: say {what}--actor PREFIX for "
            f"each part of the actor in order, or --ignore {groups[0]} if the action does not need them"
        )

    def _name_of(self, left: str) -> str:
        """What to call a tensor that nobody took: its layer, unless others below the same key are taken."""
        group = _group(left)
        return left if any(key.startswith(f"{group}.") for key in self._uses) else group

    def refuse_convolutions(self, keys: list[str]) -> NoReturn:
        """Raise InputError: gaitd feeds a vector."""
        names = dict.fromkeys(re.sub(r"\.\d+\.\w+$", "", key) + ".*" for key in keys)
        self.refuse(f"has convolution layers ({', '.join(names)}), which gaitd cannot feed")

    def refuse(self, reason: str) -> NoReturn:
        """Print what is in the file, then raise InputError."""
        rows: dict[tuple[str, str], list[str]] = {}
        for key, tensor in self.content.tensors.items():
            use = (
                self._uses.get(key) or self._training_only(key) or self._training_only(key.partition(".")[2])
            )
            use = use or UNKNOWN
            group = key.partition(".")[0] if use == "optimizer" else _group(key)
            rows.setdefault((group, use), []).append(
                f"{key.rpartition('.')[2]} {'x'.join(map(str, tensor.shape)) or 'scalar'}"
            )
        lines = [[group, use, _shortened(parts)] for (group, use), parts in rows.items()]
        console.say(console.table([["key", "taken as", "tensors"], *lines]))
        raise InputError(f"{self.content.path} {reason}")

    def _report_left_out(self) -> None:
        reasons: dict[str, int] = {}
        for reason in self._uses.values():
            if reason not in ("actor", "normalizer"):
                reasons[reason] = reasons.get(reason, 0) + 1
        if reasons:
            named = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
            console.note(f"{sum(reasons.values())} tensors that acting does not need are left out: {named}")


def joined(first: list[Layer], second: list[Layer]) -> list[Layer]:
    """Number the layers of two networks as of one Sequential, with room for the activation between them."""
    offset = first[-1].index + 2 if first else 0
    return [*first, *(replace(layer, index=layer.index + offset) for layer in second)]


def _group(key: str) -> str:
    return key.rpartition(".")[0] or key


def _listed(names: Iterable[str], limit: int = 4) -> str:
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return (", ".join(listed[:limit]) + more) or "none"


def _shortened(parts: list[str], limit: int = 3) -> str:
    return ", ".join(parts[:limit]) + (f", ... ({len(parts)})" if len(parts) > limit else "")
