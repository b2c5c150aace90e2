"""The one YAML reader: plain values, and nothing dropped in silence."""

from __future__ import annotations

from typing import Any

import pytest

from gaitd.bundle.untrusted import load_yaml
from gaitd.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-2", 0.05),
        ("1e3", 1000.0),
        ("-2E+3", -2000.0),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("1.5e3", 1500.0),
        ("'5e-2'", "5e-2"),
        ("5e", "5e"),
        ("e5", "e5"),
        ("1e5f", "1e5f"),
        ("5", 5),
        ("0.5", 0.5),
    ],
)
def test_numbers(text: str, value: Any) -> None:
    got = load_yaml(f"key: {text}".encode())["key"]
    assert got == value
    assert type(got) is type(value)


def test_a_byte_order_mark_at_the_start() -> None:
    assert load_yaml(b"\xef\xbb\xbfformat: 1\n") == {"format": 1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: 1\nb: {c: 2,\n  c: 3}", "line 3, column 3: key 'c' is named twice, first in line 2"),
        (b"a: [{b: 1, b: 1}]", "key 'b' is named twice"),
        (b"a:\n\tb: 1", "line 2, column 1: a tab: indent and separate with spaces"),
        (b"a: [1,\n\t2]", "line 2, column 1: a tab"),
        (b"a: 1\n\xef\xbb\xbfb: 2", "line 2, column 1: key '\\ufeffb' has a byte order mark in it"),
        ("a: 1".encode("utf-16"), "not UTF-8 text (byte 0, line 1)"),
        (b"a: 1\nb: \xe9", "not UTF-8 text (byte 8, line 2)"),
        (b"<<: {a: 1}\na: 2", "line 1, column 1: a merge (<<)"),
        (b"1: a", "key 1 is not a string"),
        (b"off: a", "key False is not a string"),
        (b"a: 1\n---\nb: 1", "expected a single document"),
        (b"a: !!python/tuple [1]", "line 1, column 4: the tag !!python/tuple"),
        (b"a: !mine 1", "the tag !mine"),
        (b"a: 1\nb: !!int x", "line 2, column 4: invalid literal"),
        (b"a: [1\nb: 2", "line 2, column 2: expected ',' or ']'"),
    ],
)
def test_refused_with_line_and_column(data: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_yaml(data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
