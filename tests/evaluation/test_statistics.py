"""The Wilson interval against its closed formula and published values."""

import math

import hypothesis
import hypothesis.strategies as st
import pytest

from keras_mpdsgr.evaluation import wilson

# Standard normal quantiles, from tables.
QUANTILES = {0.9: 1.6448536269514722, 0.95: 1.959963984540054, 0.99: 2.5758293035489004}


def closed_form(count, total, z):
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    spread = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    half = spread / (1 + z * z / total)
    return middle - half, middle + half


@hypothesis.given(data=st.data(), total=st.integers(1, 10_000))
@hypothesis.settings(max_examples=100)
def test_the_interval_is_wilsons_formula(data, total):
    count = data.draw(st.integers(0, total))
    confidence = data.draw(st.sampled_from(sorted(QUANTILES)))
    low, high = closed_form(count, total, QUANTILES[confidence])
    found = wilson(count, total, confidence)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert 0 <= found.low <= count / total <= found.high <= 1
    assert found.value == count / total


@pytest.mark.parametrize(
    "count, total, low, high",
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_the_interval_is_the_one_published_by_newcombe(count, total, low, high):
    # Newcombe (1998), Statistics in Medicine 17, 857-872, Table I, method 3.
    found = wilson(count, total)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize("total", [1, 10, 1000])
def test_none_and_all_have_an_end_at_the_edge_and_one_within(total):
    z2 = QUANTILES[0.95] ** 2
    none, every = wilson(0, total), wilson(total, total)
    assert none.low == 0.0
    assert none.high == pytest.approx(z2 / (total + z2), rel=1e-9)
    assert every.high == 1.0
    assert every.low == pytest.approx(total / (total + z2), rel=1e-9)


def test_a_share_reads_as_percent():
    # 19 of 20, by the formula: 0.76387 to 0.99112.
    assert str(wilson(19, 20)) == "95.00% [76.39%, 99.11%]"


@pytest.mark.parametrize(
    "arguments, name",
    [
        ((-1, 3), "count"),
        ((4, 3), "count"),
        ((2.7, 3), "count"),
        ((0, 0), "total"),
        ((0, -1), "total"),
        ((1, 2, 0.0), "confidence"),
        ((1, 2, 1.0), "confidence"),
        ((1, 2, 1.5), "confidence"),
        ((1, 2, float("nan")), "confidence"),
    ],
)
def test_impossible_counts_and_confidences_are_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        wilson(*arguments)
