"""An example policy and its environment, to try the chain without any training."""

from gaitforge.example.demo_policy import make_env

__all__ = ["make_env"]
