"""report.html: whatever a manifest or a report holds is text on the page, never markup."""

from __future__ import annotations

import numpy as np
import pytest

from gaitforge.verify.evaluation import Result, action_error
from gaitforge.verify.html_report import Report, render
from support.bundles import contract, small_manifest


@pytest.mark.parametrize("others", [[], ["fp16", "int8"]])
def test_text_is_escaped(others: list[str]) -> None:
    hostile = "<script>alert(1)</script>"
    manifest = contract(small_manifest(name=hostile, joints=[hostile, "thigh", "knee"]))
    actions = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    results = [Result(name, actions, action_error(manifest, actions, actions)) for name in ["float", *others]]
    page = render(Report(manifest, results, np.zeros((20, 18), np.float32), [hostile], {hostile: hostile}))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert page.count("<img ") == (len(others) + 1 if others else 0)
    assert page.count("Worst input of ") == len(others)
    assert "Closed loop" not in page
