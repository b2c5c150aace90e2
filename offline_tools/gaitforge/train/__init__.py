"""Training: PPO over batched MuJoCo, on the CPU, with the very terms that gaitd runs.

``environment`` is the robots, ``learner`` the algorithm, ``run`` a whole training with its checkpoints.
"""
