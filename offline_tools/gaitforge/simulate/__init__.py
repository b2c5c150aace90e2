"""The simulated robot: in real time over UDP, or with a policy called directly."""

from gaitforge.commands.simulate import add_parser

__all__ = ["add_parser"]
