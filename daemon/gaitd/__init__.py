"""gaitd: runs a trained locomotion policy on a robot, and puts the joints to damping when anything fails."""

__version__ = "0.1.0"
