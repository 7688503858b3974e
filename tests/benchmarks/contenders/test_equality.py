import numpy as np
import pytest

from benchmarks.contenders import ann, equality, ours
from benchmarks.contenders.case import Case
from benchmarks.timing import workers

CASE = Case(batch=3, timesteps=2, width=0.02, image_size=16)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    equality.share(ours.Ours(CASE), path)
    with np.load(path) as arrays:
        return dict(arrays)


class Echo:
    """A peer that answers what the reference holds, but for what it is told to change."""

    def __init__(self, reference, flip=(), shift=0.0, is_bfloat16=False):
        self.case, self.is_bfloat16 = CASE, is_bfloat16
        self._reference, self._flip, self._shift = reference, flip, shift

    def currents(self, number, inputs):
        name = f"currents/{number}"
        if name not in self._reference:
            return self._reference["logits"][:, None]
        return self._reference[name] + self._shift

    def spikes(self, number, currents):
        spikes = self._reference[f"spikes/{number}"].copy()
        for place in self._flip:
            spikes[place] = 1 - spikes[place]
        return spikes


def test_the_plain_network_has_the_same_currents_stage_by_stage(reference):
    plain = ann.PlainNetwork(CASE)
    plain.load(equality.weights_in(reference))
    found = equality.compare(plain, reference)
    assert found["stages"] == 11
    assert found["largest_current_error"] < 1e-5
    workers.check_equal("ann", found)


def test_a_network_with_other_weights_is_refused(reference):
    plain = ann.PlainNetwork(CASE)
    weights = equality.weights_in(reference)
    plain.load({**weights, "3/kernel": weights["3/kernel"] * 1.01})
    with pytest.raises(workers.BenchmarkError, match="ann is another network"):
        workers.check_equal("ann", equality.compare(plain, reference))


def test_in_bfloat16_what_its_precision_explains_is_allowed_and_no_more(reference):
    plain = ann.PlainNetwork(CASE, policy="mixed_bfloat16")
    weights = equality.weights_in(reference)
    plain.load(weights)
    found = equality.compare(plain, reference)
    # 8 significant bits round by up to 2^-8; float32's tolerance would refuse it.
    assert 2**-11 < found["largest_current_error"] < found["allowed_current_error"]
    workers.check_equal("ann_bf16", found)
    plain.load({**weights, "3/kernel": weights["3/kernel"] * 1.1})
    with pytest.raises(workers.BenchmarkError, match="ann_bf16 is another network"):
        workers.check_equal("ann_bf16", equality.compare(plain, reference))


def test_neurons_that_fire_elsewhere_are_refused(reference):
    place = (0, 0, *[0] * (reference["spikes/0"].ndim - 2))
    reference = {**reference, "currents/0": reference["currents/0"].copy()}
    reference["currents/0"][place] = 0.5
    found = equality.compare(Echo(reference, flip=[(0, 0)]), reference)
    assert found["far_spikes"] > 0
    with pytest.raises(workers.BenchmarkError, match="spikes differ"):
        workers.check_equal("echo", found)


def test_a_spike_at_the_threshold_may_differ_and_is_counted():
    currents = np.array([[[1.0 + 5e-5, 0.3], [0.2, 0.9]]], "float32")
    spikes = np.array([[[1.0, 0.0], [0.0, 1.0]]], "float32")
    reference = {
        "images": np.zeros((1, 1)),
        "logits": np.ones((1, 1)),
        "currents/0": currents,
        "spikes/0": spikes,
    }
    found = equality.compare(Echo(reference, flip=[(0, 0, 0)]), reference)
    assert (found["near_spikes"], found["far_spikes"], found["spikes"]) == (1, 0, 4)
    found = equality.compare(Echo(reference, flip=[(0, 1, 1)]), reference)
    assert (found["near_spikes"], found["far_spikes"]) == (0, 1)
    reference["currents/0"][0, 0, 0] = 1.005  # rounded to 8 bits it may be the threshold
    for is_bfloat16, counts in ((False, (0, 1)), (True, (1, 0))):
        peer = Echo(reference, flip=[(0, 0, 0)], is_bfloat16=is_bfloat16)
        found = equality.compare(peer, reference)
        assert (found["near_spikes"], found["far_spikes"]) == counts


def test_currents_that_differ_are_refused(reference):
    found = equality.compare(Echo(reference, shift=0.1), reference)
    with pytest.raises(workers.BenchmarkError, match="input currents differ"):
        workers.check_equal("echo", found)
