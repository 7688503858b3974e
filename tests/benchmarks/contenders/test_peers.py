import numpy as np
import pytest

from benchmarks import contenders
from benchmarks.contenders import equality, ours
from benchmarks.contenders.case import Case
from benchmarks.timing import workers

CASE = Case(batch=4, timesteps=3, width=0.05)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    mine = ours.Ours(CASE)
    equality.share(mine, path)
    with np.load(path) as arrays:
        return mine, dict(arrays)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", contenders.PEERS)
def test_another_library_computes_the_same(name, channels_last, reference):
    pytest.importorskip(name, reason="it is in the extra `bench`")
    mine, arrays = reference
    peer = contenders.make(name, CASE, channels_last=channels_last)
    peer.load(equality.weights_in(arrays))
    found = equality.compare(peer, arrays)
    workers.check_equal(name, found)
    assert found["spikes"] > 10_000
    if name != "snntorch":  # which has no triangle surrogate of this form
        expected = mine.input_gradient()
        difference = np.abs(peer.input_gradient() - expected)
        assert np.abs(expected).max() > 0
        # One spike that rounding flips changes what follows from it.
        assert np.median(difference) < 1e-5 * np.abs(expected).max()
    moved = peer.attack() - mine.images
    assert np.abs(moved).max() <= 8 / 255 + 1e-6
    assert np.isfinite(peer.train_step())
