"""The machine and its owner's settings: configuration, real time, logging, access, keys."""
