"""The simulated robot: in real time over UDP, or with a policy called directly."""
