import pytest

from benchmarks.timing import measuring


class Clockwork:
    """Takes given seconds, one after the other, and notes when it was asked."""

    def __init__(self, name, seconds, turns):
        self._name, self._seconds, self._turns = name, iter(seconds), turns

    def ask(self, call, what, count):
        self._turns.append(self._name)
        return {"seconds": next(self._seconds)}


def test_contenders_take_turns_and_what_warms_them_up_is_left_out():
    turns = []
    a = Clockwork("a", [90, 9, 9, *range(1, 9)], turns)
    b = Clockwork("b", [80, 8, 8, *range(11, 19)], turns)
    seconds, first = measuring.interleave({"a": a, "b": b}, "train_step", repeats=8)
    assert first == {"a": 90, "b": 80}
    assert seconds == {"a": list(range(1, 9)), "b": list(range(11, 19))}
    rounds = [turns[start : start + 2] for start in range(6, 22, 2)]
    assert all(sorted(pair) == ["a", "b"] for pair in rounds)
    assert len({tuple(pair) for pair in rounds}) == 2


def test_a_ratio_is_taken_round_by_round():
    # A machine that slows down tenfold in the third round changes no ratio.
    seconds = {"a": [1.0, 1.0, 10.0], "b": [2.0, 2.0, 20.0]}
    assert measuring.ratio(seconds, "a", "b") == {"median": 0.5, "low": 0.5, "high": 0.5}


def test_a_summary_is_median_and_quartiles():
    summary = measuring.summary([5, 1, 2, 3, 4])
    assert summary == pytest.approx({"median": 3, "low": 2, "high": 4})
