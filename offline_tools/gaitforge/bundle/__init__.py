"""Policy bundles: manifests from trainers, packing and writing."""
