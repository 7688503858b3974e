"""Attacks by name."""

import pytest

from keras_mpdsgr import attacks


@pytest.fixture(autouse=True)
def restored_registry(monkeypatch):
    monkeypatch.setattr(attacks, "_registry", dict(attacks._registry))


def test_a_registered_attack_is_made_by_its_name_with_its_arguments():
    @attacks.register("double_step")
    class DoubleStep(attacks.PGD):
        pass

    made = attacks.get("double_step", eps=0.25, steps=3)
    assert (type(made), made.eps, made.steps) == (DoubleStep, 0.25, 3)
    assert "double_step" in attacks.names()


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="`name` must be free. Received: name='pgd'"):

        @attacks.register("pgd")
        class Other(attacks.BIM):
            pass

    assert attacks.get("pgd").random_start
