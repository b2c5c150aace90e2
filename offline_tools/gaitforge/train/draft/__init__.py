"""A draft of a training for any robot, from its MuJoCo model alone."""
