"""The main process: who may move the joints, and the life of the other processes."""
