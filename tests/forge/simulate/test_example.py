"""The example's bundle: whole, in step with its source, and proven."""

import msgspec
import yaml

from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import open_bundle
from gaitforge.simulate.direct import onnx_backend
from support.reference import EXAMPLE_BUNDLE, EXAMPLE_DIR


def test_it_is_made_from_the_manifest_beside_it():
    source = yaml.safe_load((EXAMPLE_DIR / "manifest.yaml").read_text())
    manifest = open_bundle(EXAMPLE_BUNDLE).manifest
    made = msgspec.convert(
        {**source, "files": manifest.files, "provenance": manifest.provenance}, type(manifest)
    )
    assert made == manifest


def test_its_model_answers_its_golden_vectors():
    bundle = open_bundle(EXAMPLE_BUNDLE)
    result = run_selftest(onnx_backend(bundle), bundle, bundle.manifest.golden.onnx_tolerance)
    assert result.count == 256


def test_it_is_small():
    assert EXAMPLE_BUNDLE.stat().st_size < 250_000
