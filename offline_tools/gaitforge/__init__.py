"""gaitforge: turns a training checkpoint into a verified policy bundle, and simulates the robot."""
