"""A training that begins with the networks of another one, which saw less."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from gaitd.errors import InputError
from gaitforge.train.learner import Learner

_FIRST = "mlp.0.weight"


def begin_with(checkpoint: Path, learner: Learner) -> None:
    """Take over the networks of an rsl_rl checkpoint.

    Its observation must be the beginning of this training's: what comes behind it is ignored at first. Raises
    InputError when it is another network.
    """
    try:
        saved = torch.load(checkpoint, weights_only=True)
        place = saved["actor_state_dict"][_FIRST].shape[1]
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError):
        raise InputError(f"{checkpoint} is no checkpoint of gaitforge train") from None
    for role, network in (("actor", learner.ppo.actor), ("critic", learner.ppo.critic)):
        before, now = saved[f"{role}_state_dict"], network.state_dict()
        old = before[_FIRST]
        more = now[_FIRST].shape[1] - old.shape[1]
        if more >= 0:
            # The critic has the actor's observation, and then what it knows beyond that.
            nothing = torch.zeros(len(old), more)
            before[_FIRST] = torch.cat((old[:, :place], nothing, old[:, place:]), dim=1)
        shapes, wanted = ({name: tuple(t.shape) for name, t in state.items()} for state in (before, now))
        if shapes != wanted:
            raise InputError(
                f"{checkpoint}: its {role} is {shapes}, this training's {wanted}: it must see the same terms "
                "first, and be as wide"
            )
        network.load_state_dict(before)
