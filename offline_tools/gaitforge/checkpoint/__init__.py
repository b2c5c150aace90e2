"""Training checkpoints: from a file to the actor that was trained."""
