"""gaitctl: look at a running gaitd, and ask for damping."""
