"""Policy bundles: read, verify, store."""

from gaitd.bundle.read import Bundle, open_bundle

__all__ = ["Bundle", "open_bundle"]
