"""Targets by the definition, spelt out step by step, and baselines by enumeration, by closed form, and by large samples
with their standard errors."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import product
from math import log

import numpy as np
import pytest

import throughtime as tt

tasks = tt.tasks


def plogp(weights):
    total = sum(weights)
    return -sum(float(w / total) * log(w / total) for w in weights if w)


# ------------------------------------------------------------------------------------------ two marked numbers

MARKED = [(cls, variant) for cls in (tasks.Adding, tasks.Multiplication)
          for variant in ("le", "arjovsky", "pascanu", "hochreiter")]  # fmt: skip


@pytest.mark.parametrize(("cls", "variant"), MARKED)
def test_marked_numbers_and_the_variance_of_the_target(cls, variant):
    task = cls(length=20, variant=variant)
    batch = task.batch(60_000, seed=0)
    value, mark = batch.x[..., 0], batch.x[..., 1]
    hidden = np.zeros(60_000)
    if variant == "hochreiter":
        columns = np.arange(60_000)
        assert (mark[0] == -1).all()
        assert (mark[batch.lengths - 1, columns] == -1).all()
        neutral = 1.0 if cls is tasks.Multiplication else 0.0
        hidden = (mark == 1).sum(axis=0) == 1  # the other is the first, under its −1
        assert (value[0, hidden] == neutral).all()
    assert ((mark == 1).sum(axis=0) == 2 - hidden).all()
    if cls is tasks.Adding:
        total = (value * (mark == 1)).sum(axis=0)
        wanted = {"pascanu": total / 2, "hochreiter": 0.5 + total / 4}.get(variant, total)
    else:
        wanted = np.where(mark == 1, value, 1.0).prod(axis=0)
    targets = batch.targets[:, 0]
    np.testing.assert_allclose(targets, wanted, rtol=0, atol=4e-16)
    squares = (targets - targets.mean()) ** 2
    assert abs(squares.mean() - task.baseline) < 4 * squares.std() / np.sqrt(squares.size)
    if variant == "hochreiter":
        p = tasks.marked_pairs.first_is_marked(variant, 20)
        assert abs(hidden.mean() - p) < 4 * np.sqrt(p * (1 - p) / hidden.size)


@pytest.mark.parametrize(
    ("variant", "first", "second"),
    [
        ("le", (0, 98), (1, 99)),
        ("arjovsky", (0, 49), (50, 99)),
        ("pascanu", (0, 10), (10, 54)),
        ("hochreiter", (0, 9), (0, 49)),
    ],
)
def test_where_the_marks_are(variant, first, second):
    mark = tasks.Adding(length=100, variant=variant).batch(20_000, seed=1).x[..., 1] == 1
    early, late = mark.argmax(axis=0), len(mark) - 1 - mark[::-1].argmax(axis=0)
    early, late = early[mark.sum(axis=0) == 2], late[mark.sum(axis=0) == 2]
    assert early.min() >= first[0]
    assert late.max() <= second[1]
    if variant != "hochreiter":  # there the second may come before the first
        assert (early.min(), early.max()) == first or variant == "le"
        assert (late.min(), late.max()) == second or variant == "le"


def test_printed_values():
    assert tasks.Adding().baseline == 1 / 6
    assert tasks.Adding(variant="pascanu").baseline == 1 / 24
    assert tasks.Multiplication(variant="le").baseline == pytest.approx(7 / 144, rel=1e-15)
    copy = {50: 0.29706, 60: 0.25993, 100: 0.17329, 200: 0.09452, 500: 0.03999, 1000: 0.02039, 2000: 0.01029}
    for delay, printed in copy.items():
        assert round(tasks.CopyMemory(delay=delay).baseline, 5) == printed


# ------------------------------------------------------------------------------------------ symbols to remember


@pytest.mark.parametrize("variable", [False, True])
def test_copy_memory(variable):
    task = tasks.CopyMemory(delay=6, count=3, symbols=4, variable=variable)
    batch = task.batch(500, seed=0)
    delays = set()
    for x, targets in zip(batch.x.T.tolist(), batch.targets.T.tolist(), strict=True):
        signal = x.index(5)
        assert x[3:signal] + x[signal + 1 :] == [4] * 8
        delays.add(signal + 1 - 3)
        assert targets == [4] * (signal + 1) + x[:3] + [4] * (11 - signal - 3)
    assert delays == (set(range(1, 7)) if variable else {6})
    asked = (batch.targets != 4).mean()
    assert asked * log(4) == pytest.approx(task.baseline, rel=1e-14)  # any symbol where one is asked for
    counts = np.bincount(batch.targets[batch.targets < 4])
    assert abs(counts - 375).max() < 4 * np.sqrt(1500 * 3 / 16)


def test_selective_copying():
    task = tasks.SelectiveCopying(length=10, count=3, symbols=5)
    batch = task.batch(2000, seed=0)
    for x, targets, mask in zip(batch.x.T, batch.targets.T, batch.mask.T, strict=True):
        assert x[10:].tolist() == [6] * 3
        assert x[:10][x[:10] < 5].tolist() == targets[mask].tolist()
    places = (batch.x[:10] < 5).sum(axis=1)
    assert abs(places - 600).max() < 4 * np.sqrt(2000 * 0.3 * 0.7)
    assert task.baseline == log(5)


@pytest.mark.parametrize("aligned", [True, False])
def test_reversal(aligned):
    task = tasks.Reversal(shortest=1, longest=5, symbols=3, aligned=aligned)
    batch = task.batch(500, seed=0)
    for b in range(500):
        n = batch.mask[:, b].sum() - 1
        source, answer = batch.x[:n, b].tolist(), batch.targets[batch.mask[:, b], b].tolist()
        assert answer == source[::-1] + [3]
        assert batch.lengths[b] == (2 * n + 1 if aligned else n)
        if aligned:
            assert (batch.x[n:, b] == 3).all()
            assert batch.mask[n : 2 * n + 1, b].all()
    symbols = (batch.mask & (batch.targets < 3)).sum() * log(3)
    n = batch.mask.sum(axis=0) - 1
    error = log(3) * n.std() / np.sqrt(500) / (n.mean() + 1) ** 2
    assert abs(symbols / batch.mask.sum() - task.baseline) < 4 * error


@pytest.mark.parametrize("reverse", [True, False])
def test_spoken_digits(reverse):
    task, count = tasks.SpokenDigits(shortest=1, longest=6, repeats=0.3, reverse=reverse), 2000
    batch = task.batch(count, seed=0)
    places, items = task.alignment(batch), np.zeros(count, int)
    for b, text in enumerate(task.text(batch)):
        said, digits, times = text.split(), "", 1
        for word in said[::-1] if reverse else said:
            if word in ("double", "triple"):
                times = 2 if word == "double" else 3
                continue
            digits, times = digits + times * str(task.vocabulary.index(word)), 1
            items[b] += 1
        assert batch.lengths[b] == len(said)
        real = batch.mask[:, b]
        assert batch.targets[real, b].tolist() == [*map(int, digits), 10]
        assert real.sum() == len(digits) + 1
        assert np.array_equal(batch.x[places[: len(digits), b], b], batch.targets[: len(digits), b])
        assert (places[len(digits) :, b] == -1).all()
    assert set(items) == {1, 2, 3, 4, 5, 6}
    same_digit_words = (batch.x < 10) & (np.arange(len(batch.x))[:, None] < batch.lengths)
    repeated = (batch.x >= 10).sum() / same_digit_words.sum()
    assert abs(repeated - 0.3) < 4 * np.sqrt(0.3 * 0.7 / same_digit_words.sum())
    digits = batch.mask.sum(axis=0) - 1
    mean = digits.mean()  # of a model that says the same at every step: its loss, as a function of the mean
    loss = (mean * log(10 / mean) + (mean + 1) * log(mean + 1)) / (mean + 1)
    slope = (log(10) - log(mean)) / (mean + 1) ** 2
    assert abs(loss - task.baseline) < 4 * abs(slope) * digits.std() / np.sqrt(count)
    shares = np.bincount(batch.targets[batch.mask], minlength=11) / batch.mask.sum()
    assert abs(-(shares * np.log(shares)).sum() - task.baseline) < 0.01  # 11 shares of 17,000 steps, not independent


# ------------------------------------------------------------------------------------------ classes and bits


@pytest.mark.parametrize("marks", [2, 3])
@pytest.mark.parametrize("variant", ["hochreiter", "pascanu"])
def test_temporal_order(marks, variant):
    task = tasks.TemporalOrder(length=100, marks=marks, variant=variant)
    batch = task.batch(8000, seed=0)
    lengths = batch.lengths if batch.lengths is not None else np.full(8000, 100)
    places = []
    for x, n, label in zip(batch.x.T, lengths, batch.targets, strict=True):
        (found,) = np.nonzero(x[:n] < 2)
        places.append(found)
        assert int("".join(map(str, x[found])), 2) == label
        assert (x[n:] == 0).all()
        if variant == "hochreiter":
            assert (x[0], x[n - 1]) == (6, 7)
            assert 100 <= n <= 110
    last = 1 if variant == "hochreiter" else 0
    starts = (10, 50) if marks == 2 else (10, 33, 66)
    assert np.min(places, axis=0).tolist() == list(starts)
    assert np.max(places, axis=0).tolist() == [start + 9 + last for start in starts]
    classes = 2**marks
    counts = np.bincount(batch.targets, minlength=classes)
    assert abs(counts - 8000 / classes).max() < 4 * np.sqrt(8000 / classes)
    assert task.baseline == log(classes)
    assert task.share_wrong(np.eye(classes)[np.zeros(8000, int)], batch) == pytest.approx(1 - counts[0] / 8000)


@pytest.mark.parametrize("length", [3, 4, 5, 6, 3000])
def test_temporal_xor(length):
    task = tasks.TemporalXor(length=length)
    batch = task.batch(50, seed=0)
    bits = np.concatenate([batch.x, batch.targets[-1:]])[..., 0].astype(int)
    assert np.array_equal(batch.targets[:-1], batch.x[1:])
    coins = [t for t in range(1, length + 1) if t % 3 != 2]
    for t in range(2, length + 1, 3):
        assert np.array_equal(bits[t], bits[t - 1] ^ bits[t - 2])
    assert task.optimum == pytest.approx(log(2) * len(coins) / length, rel=1e-14)
    best = np.zeros_like(batch.targets)
    best[1::3] = 20 * batch.targets[1::3] - 10
    np.testing.assert_allclose(task.errors(best, batch)[:2], 0.5)
    assert task.errors(best, batch)[2] < 1e-4
    assert task.solved(best, batch)
    assert not task.solved(np.zeros_like(best), batch)


CODES = {"b": "101001", "d": "101101", "g": "101011", "a": "010011", "i": "010101", "u": "010111"}


def test_elman_letters():
    task = tasks.ElmanLetters(length=400)
    batch = task.batch(300, seed=0)
    assert np.array_equal(batch.targets[:-1], batch.x[1:])
    firsts = Counter()
    for text, x in zip(task.text(batch), batch.x.swapaxes(0, 1), strict=True):
        assert re.fullmatch(r"(ba|dii|guuu)*(b|d|di|g|gu|guu)?", text)
        assert ["".join(str(int(bit)) for bit in row) for row in x] == [CODES[letter] for letter in text]
        firsts.update(letter for letter in text if letter in "bdg")
    count = sum(firsts.values())
    assert all(abs(firsts[letter] - count / 3) < 4 * np.sqrt(count * 2 / 9) for letter in "bdg")


@pytest.mark.parametrize("length", [3, 4, 7])
def test_entropies_of_elman_letters_by_all_its_strings(length):
    strings = Counter()
    for choice in product(("ba", "dii", "guuu"), repeat=length // 2 + 1):
        strings["".join(choice)[: length + 1]] += 1
    by_past, by_letter = defaultdict(Counter), defaultdict(Counter)
    for string, weight in strings.items():
        for t in range(length):
            by_past[string[: t + 1]][string[t + 1]] += weight
            by_letter[string[t]][string[t + 1]] += weight

    def loss(groups):
        total = sum(sum(group.values()) for group in groups.values())
        found = 0.0
        for group in groups.values():
            for bit in range(6):
                ones = sum(weight for letter, weight in group.items() if CODES[letter][bit] == "1")
                found += sum(group.values()) / total * plogp([ones, sum(group.values()) - ones]) / 6
        return found

    task = tasks.ElmanLetters(length=length)
    assert task.optimum == pytest.approx(loss(by_past), rel=1e-13)
    assert task.baseline == pytest.approx(loss(by_letter), rel=1e-13)


def test_elman_letters_of_a_long_stream():
    task = tasks.ElmanLetters(length=10**9)
    third, half = plogp([1, 2]), log(2)
    assert task.optimum == pytest.approx(third / 9, rel=1e-6)
    i, u = 3 * half + third + plogp([1, 5]), 3 * third + 2 * plogp([2, 7])
    assert task.baseline == pytest.approx((2 * third + 2 * i + 3 * u) / 54, rel=1e-6)


def test_errors_of_elman_letters():
    task = tasks.ElmanLetters(length=1000)
    batch = task.batch(50, seed=0)
    consonant = batch.targets[..., :1] == 1
    best = 40 * batch.targets - 20
    best[..., 3:5] = np.where(consonant, log(1 / 2), best[..., 3:5])  # P = 1/3
    errors = task.errors(best, batch)
    count = consonant.sum()
    assert np.delete(errors, (3, 4), axis=1).max() < 1e-8
    assert errors[1].max() < 1e-8
    squares = np.array([1 / 9, 1 / 9, 4 / 9])  # mean 2/9
    assert abs(errors[0, 3:5] ** 2 - 2 / 9).max() < 4 * squares.std() / np.sqrt(count)
    value, _ = tt.training.binary_cross_entropy(best, batch.targets)
    assert value == pytest.approx(task.optimum, rel=0.02)
    assert task.solved(best, batch)
    best[500, 3, 5] = -1.0  # voiced they all are
    assert task.wrong(best, batch).nonzero()[0].tolist() == [3]
    assert np.isnan(task.errors(best[:1], tt.tasks.Batch(batch.x[:1], batch.targets[:1]))[0]).all()
    for ask in (task.errors, task.wrong):
        with pytest.raises(ValueError, match=r"holds targets of shape \(50, 6\); expected \(1000, 50, 6\)"):
            ask(best[0], batch._replace(targets=batch.targets[0]))


def test_delayed_xor():
    task = tasks.DelayedXor(delay=3, length=20)
    batch = task.batch(400, seed=0)
    x, y = batch.x[..., 0].astype(int), batch.targets[..., 0].astype(int)
    for t in range(20):
        assert batch.mask[t].all() == (t >= 6)
        if t >= 6:
            assert np.array_equal(y[t], x[t - 3] ^ x[t - 6])
    ones = y[6:].mean()
    assert abs(ones - 0.5) < 4 * 0.5 / np.sqrt(14 * 400)


def test_flip_flop():
    batch = tasks.FlipFlop(bits=2, length=40, pulses=0.2).batch(300, seed=0)
    held = np.zeros((300, 2))
    for x, targets in zip(batch.x, batch.targets, strict=True):
        held = np.where(x != 0, x, held)
        assert np.array_equal(targets, held)
    assert set(np.unique(batch.x)) == {-1.0, 0.0, 1.0}
    assert (batch.x[0] != 0).all()
    fired = (batch.x[1:] != 0).mean()
    assert abs(fired - 0.2) < 4 * np.sqrt(0.16 / (39 * 600))
    assert (batch.targets**2).mean() == 1.0


# ------------------------------------------------------------------------------------------ probabilities


def test_bernoulli_add_by_enumeration():
    rates = {(a, b): Fraction(1, 2) + Fraction(a, 2) - Fraction(b, 4) for a, b in product((0, 1), repeat=2)}
    task = tasks.BernoulliAdd()
    for first, second in product((False, True), repeat=2):
        groups = defaultdict(list)
        for (a, b), p in rates.items():
            groups[a if first else None, b if second else None].append(p)
        entropies = [(len(g), sum(g) / len(g)) for g in groups.values()]
        wanted = sum(count / 4 * plogp([p, 1 - p]) for count, p in entropies)
        assert task.entropy(first, second) == pytest.approx(wanted, rel=1e-14)
    printed = {(False, False): 0.66156, (True, False): 0.51917, (False, True): 0.62774, (True, True): 0.45445}
    assert {known: round(task.entropy(*known), 5) for known in printed} == printed


def test_bernoulli_add_by_sampling():
    task = tasks.BernoulliAdd(first=2, second=5, length=50)
    batch = task.batch(4000, seed=0)
    x, y = batch.x[..., 0], batch.targets
    assert np.array_equal(batch.x[..., 1], 1 - x)
    wanted = 0.5 + 0.5 * x[3:-2] - 0.25 * x[:-5]
    assert np.array_equal(task.rates(batch)[5:], wanted)
    assert batch.mask[5:].all()
    assert not batch.mask[:5].any()
    with np.errstate(divide="ignore", invalid="ignore"):
        nats = -np.where(y[5:] == 1, np.log(wanted), np.log(1 - wanted))
    assert np.isfinite(nats).all()  # what has probability 0 does not happen
    assert abs(nats.mean() - task.optimum) < 4 * nats.std() / np.sqrt(nats.size)


INNER = {1: ("T2", "P3"), 2: ("S2", "X4"), 3: ("T3", "V5"), 4: ("X3", "S6"), 5: ("P4", "V6")}


def test_reber_strings_are_those_of_the_grammar():
    task = tasks.EmbeddedReber()
    batch = task.batch(3000, seed=0)
    choices, steps = 0, batch.lengths.sum()
    for b, (n, string) in enumerate(zip(batch.lengths, task.text(batch), strict=True)):
        assert "".join("BTSXVPE"[token] for token in batch.targets[:n, b]) == string[1:]
        assert string[0] + string[2] + string[-1] == "BBE"
        assert string[1] in "TP"
        assert string[1] == string[-2]
        place = 1
        for symbol in string[3:-3]:
            place = next(int(arc[1]) for arc in INNER[place] if arc[0] == symbol)
        assert (place, string[-3]) == (6, "E")
        choices += 1 + len(string[3:-3])
    ratio = choices * log(2) / steps  # 7 ln 2/11; of one string (n − 4) ln 2/n, as all but four steps are choices
    nats = log(2) * (batch.lengths - 4) - task.optimum * batch.lengths
    assert ratio == pytest.approx((batch.lengths - 4).sum() / steps * log(2), rel=1e-13)
    assert abs(ratio - task.optimum) < 4 * nats.std() / np.sqrt(3000) / batch.lengths.mean()
    assert batch.lengths.min() == 8


def test_reber_entropies_by_enumeration():
    """Exact rationals: how often each place is visited solves v = e_1 + Pᵀv."""
    visits = {place: Fraction(0) for place in range(1, 7)}
    alive = {1: Fraction(1)}
    for _ in range(400):
        after = defaultdict(Fraction)
        for place, p in alive.items():
            visits[place] += p
            for arc in INNER.get(place, ()):
                after[int(arc[1])] += p / 2
        alive = after
    choices = float(sum(visits[place] for place in INNER))  # inside the Reber string
    steps = 1 + 1 + choices + 1 + 1 + 1  # T or P, B, the choices, E, T or P again, E
    task = tasks.EmbeddedReber()
    assert choices == pytest.approx(6, abs=1e-12)
    assert task.optimum == pytest.approx((1 + choices) * log(2) / steps, rel=1e-12)
    assert task.baseline == pytest.approx((2 + choices) * log(2) / steps, rel=1e-12)


def test_reber_legal_symbols():
    task = tasks.EmbeddedReber()
    tokens = np.array(["BTSXVPE".index(symbol) for symbol in "BPBTSXXVPSEP"])[:, None]
    found = ["".join(np.array(list("BTSXVPE"))[legal]) for legal in task.legal(tasks.Batch(tokens, tokens))[:, 0]]
    assert found == ["TP", "B", "TP", "SX", "SX", "SX", "TV", "VP", "SX", "E", "P", "E"]


@pytest.mark.parametrize(("most", "letters"), [(1, 2), (2, 2), (10, 2), (5, 3)])
def test_counting_grammar_by_enumeration(most, letters):
    task = tasks.CountingGrammar(most=most, letters=letters)
    batch = task.strings(range(1, most + 1))
    pairs, prefixes, strings = Counter(), Counter(), []
    for b, n in enumerate(range(1, most + 1)):
        letter_run = [k for k in range(letters) for _ in range(n)]
        symbols = [letters, *letter_run, letters]
        assert batch.lengths[b] == len(symbols) - 1
        assert batch.x[: len(symbols) - 1, b].tolist() == symbols[:-1]
        assert batch.targets[: len(symbols) - 1, b].tolist() == symbols[1:]
        strings.append(symbols)
        for t in range(len(symbols) - 1):
            pairs[symbols[t], symbols[t + 1]] += 1
            prefixes[tuple(symbols[: t + 1]), symbols[t + 1]] += 1
    steps = sum(pairs.values())

    def conditional(counts):
        given = defaultdict(list)
        for (before, _), count in counts.items():
            given[before].append(count)
        return sum(sum(c) / steps * plogp(c) for c in given.values())

    if most > 1:
        assert conditional(pairs) == pytest.approx(task.baseline, rel=1e-13)
        assert conditional(prefixes) == pytest.approx(task.optimum, rel=1e-13)
    else:
        assert task.baseline == task.optimum == 0.0
    after = defaultdict(set)  # the legal symbols, of unbounded n
    for n in range(1, 2 * most + 2):
        symbols = [letters, *[k for k in range(letters) for _ in range(n)], letters]
        for t in range(len(symbols) - 1):
            after[tuple(symbols[: t + 1])].add(symbols[t + 1])
    legal = task.legal(batch)
    for b, symbols in enumerate(strings):
        for t in range(1, len(symbols) - 1):
            assert set(np.nonzero(legal[t, b])[0]) == after[tuple(symbols[: t + 1])]


def test_sentiment_by_enumeration_of_all_sentences():
    task = tasks.NegationSentiment()
    words = task.vocabulary
    nouns, adjectives = words[6:11], words[11:]
    assert len(adjectives) == 8
    clauses = []
    for noun, negation, very, i in product(nouns, ("", "not"), ("", "very"), range(8)):
        clause = ["the", noun, "was", *filter(None, [negation, very]), adjectives[i]]
        clauses.append((clause, (i < 4) != bool(negation)))
    bags = defaultdict(Counter)
    label_of = {}
    for first, label in clauses:
        label_of[" ".join(first)] = label
        bags[tuple(sorted(first))][label] += Fraction(1, 2 * len(clauses))
        for second, label_2 in clauses:
            sentence = [*first, "but", *second]
            label_of[" ".join(sentence)] = label_2
            bags[tuple(sorted(sentence))][label_2] += Fraction(1, 2 * len(clauses) ** 2)
    nats = sum(float(sum(bag.values())) * plogp(list(bag.values())) for bag in bags.values())
    assert nats == pytest.approx(task.bag_of_words, rel=1e-12)
    assert nats == pytest.approx(0.375 * log(2), rel=1e-12)
    assert sum(min(bag[True], bag[False]) for bag in bags.values()) == Fraction(3, 16)
    batch = task.batch(4000, seed=0)
    for sentence, n, label in zip(task.text(batch), batch.lengths, batch.targets, strict=True):
        assert len(sentence.split()) == n
        assert label_of[sentence] == label
    assert abs(batch.targets.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_sentiment_without_ambiguity():
    assert tasks.NegationSentiment(but=0.0).bag_of_words == 0.0
    assert tasks.NegationSentiment(negation=0.0).bag_of_words == pytest.approx(0.25 * log(2), rel=1e-14)
