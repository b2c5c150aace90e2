"""From a checkpoint to a verified bundle in one go."""
