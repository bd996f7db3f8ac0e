"""The text of char_language_model: counts against plain dictionaries, quotes and places of a small module."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))  # studies import `_text` from beside them

import _text


def plain(read, held):
    """p_n = (count + kinds · p_{n−1})/(total + kinds), byte by byte."""
    text, found = read + held, []
    for n in range(_text.ORDERS):
        after = defaultdict(Counter)
        for t in range(len(read)):
            after[text[max(0, t - n) : t].rjust(n, b"\0")][text[t]] += 1
        row = []
        for k in range(len(held)):
            t = len(read) + k
            seen = after[text[t - n : t]]
            below = found[-1][k] if n else 1 / len(set(text))
            total, kinds = sum(seen.values()), len(seen)
            row.append((seen[text[t]] + kinds * below) / (total + kinds) if total else below)
        found.append(row)
    return np.array(found)


def test_counts_are_those_of_plain_dictionaries():
    read = b"to be or not to be, that is the question: whether 'tis nobler in the mind to suffer \xff\x00 " * 3
    held = b"the slings and arrows of outrageous fortune, or to take arms against a sea of troubles \xff"
    np.testing.assert_allclose(_text.counts(read, held), plain(read, held), rtol=1e-13)


def test_compressors_count_only_what_is_new():
    read = bytes(np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8))
    new = bytes(np.random.default_rng(1).integers(0, 256, 20_000, dtype=np.uint8))
    for name, bits in _text.compressed(read, new).items():
        assert abs(bits - 8) < 0.05, name
    for name, bits in _text.compressed(read, read).items():
        assert bits < 0.2, name


def test_quotes_indentation_and_place():
    module = b"a = 'xy' + f'z{b}' # 'no'\nif a:\n    '''q\n  r'''\n\xc3 = \"\"\n"
    inside, indentation, place = _text.features([module])
    lines = [
        ("a = 'xy' + f'z{b}' # 'no'\n", "....###....######.........", 0),
        ("if a:\n", "......", 0),
        ("    '''q\n", "....#####", 4),
        ("  r'''\n", "#####..", 2),
        ('Ã = ""\n', "....#..", 0),
    ]
    start = 0
    for line, marks, indent in lines:
        here = slice(start, start + len(line))
        assert "".join(".#"[int(mark)] for mark in inside[here]) == marks
        assert indentation[here].tolist() == [*(min(k + 1, indent) for k in range(len(line) - 1)), 0]
        assert place[here].tolist() == [*range(1, len(line)), 0]
        start += len(line)
    assert start == len(module)


def test_held_out_modules_are_whole_and_not_among_what_is_read():
    read, modules = _text.source(10**9, 50_000, seed=0)
    assert 50_000 <= sum(map(len, modules)) < 50_000 * 7 / 6
    for module in modules:
        assert len(module) < 50_000 / 6
        if len(module) > 200:
            assert module not in read
