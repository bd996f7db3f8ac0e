"""The text of char_language_model: modules of the standard library, counts and compressors of it, quotes and places."""

import io
import lzma
import sysconfig
import tokenize
import zlib
from pathlib import Path

import numpy as np

ORDERS = 8  # of the counts: 7 bytes and the next fit into 64 bits


def source(size, held_out, seed):
    """(text to be read, whole short modules that are held out): of the standard library, in an order of their own."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [paths[k].read_bytes() for k in np.random.default_rng(seed).permutation(len(paths))]
    kept = []
    while sum(map(len, kept)) < held_out:
        short = next(k for k, text in enumerate(texts) if len(text) < held_out / 6)
        kept.append(texts.pop(short))
    return b"".join(texts)[:size], kept


def counts(read, held):
    """Probabilities (ORDERS, m) of the bytes `held` that follow `read`, by counts of order 0 to ORDERS − 1."""
    text = np.frombuffer(read + held, np.uint8).astype(np.uint64)
    kinds = len(np.unique(text))
    p, found = np.full(len(held), 1.0 / kinds), []
    context = np.zeros(len(text), np.uint64)  # the last n bytes before each, as one number
    for order in range(ORDERS):
        if order:
            context[order:] |= text[:-order] << np.uint64(8 * (order - 1))
        pairs, seen = np.unique((context[: len(read)] << np.uint64(8)) | text[: len(read)], return_counts=True)
        before, first, different = np.unique(pairs >> np.uint64(8), return_index=True, return_counts=True)
        total = np.add.reduceat(seen, first)
        own = context[len(read) :]
        n, d = look_up(before, total, own), look_up(before, different, own)
        c = look_up(pairs, seen, (own << np.uint64(8)) | text[len(read) :])
        p = np.where(n > 0, (c + d * p) / np.maximum(n + d, 1), p)
        found.append(p)
    return np.array(found)


def look_up(keys, values, wanted):
    """values of the `wanted` among the sorted keys, 0 where there is none."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def compressed(read, held):
    """Bits per byte of `held` behind `read`; zlib looks back 32 kB, lzma at all of it."""
    ways = {"zlib": lambda text: zlib.compress(text, 9), "lzma": lambda text: lzma.compress(text, preset=9)}
    return {name: 8 * (len(way(read + held)) - len(way(read))) / len(held) for name, way in ways.items()}


def features(modules):
    """(3, m): inside quotes, indentation, place in the line, known when each byte has been read."""
    return np.concatenate([of_module(module) for module in modules], axis=1)


def of_module(module):
    text = module.decode("latin-1")  # a character for each byte
    lines = [line + "\n" for line in text.split("\n")]
    starts = np.cumsum([0, *map(len, lines)])
    found = np.zeros((3, starts[-1]))
    opened = []  # f-strings have a token for each part
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name, begin, end = tokenize.tok_name[token.type], token.start, token.end
        if name in ("FSTRING_START", "TSTRING_START"):
            opened.append(begin)
        if name in ("STRING", "FSTRING_END", "TSTRING_END"):
            first = begin if name == "STRING" else opened.pop()
            found[0, starts[first[0] - 1] + first[1] : starts[end[0] - 1] + end[1] - 1] = 1
    for start, line in zip(starts, lines, strict=False):
        place = np.arange(len(line))
        found[1, start : start + len(line)] = np.minimum(place + 1, len(line) - len(line.lstrip(" ")))
        found[2, start : start + len(line)] = place + 1
        found[1:, start + len(line) - 1] = 0  # a new line
    return found[:, : len(module)]
