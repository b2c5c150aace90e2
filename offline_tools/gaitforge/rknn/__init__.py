"""rknn-toolkit2, kept in an environment and a process of its own."""
