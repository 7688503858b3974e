"""The obfuscation checks on hand-made models whose answers are known."""

import re

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import evaluation
from keras_mpdsgr.evaluation import check_words
from keras_mpdsgr.evaluation.obfuscation import Check

N = 20
SHAPE = (2, 2, 1)


def images(value, n=N):
    return np.full((n, *SHAPE), value, np.float32)


def sequential(*after):
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *after])


def linear(kernel, bias):
    dense = keras.layers.Dense(2)
    model = sequential(dense)
    dense.set_weights([np.float32(kernel), np.float32(bias)])
    return model


def honest():
    """Class 1 where the mean pixel is above 1/2."""
    return linear([[-1, 1]] * 4, [2, -2])


def blind():
    """Class 1 where the mean pixel is above .505, as steps that have no gradient at all."""
    step = keras.layers.Lambda(lambda logits: tf.sign(logits))
    return keras.Sequential(
        [keras.Input(SHAPE), *linear([[-1, 1]] * 4, [2.02, -2.02]).layers, step]
    )


class Draw(keras.layers.Layer):
    """Adds noise to what passes, at inference too."""

    def __init__(self, std):
        super().__init__()
        self.std, self.generator = std, keras.random.SeedGenerator(0)

    def call(self, inputs):
        return inputs + self.std * keras.random.normal(tf.shape(inputs), seed=self.generator)


def checks(model, x, y=None, **options):
    y = np.zeros(len(x), int) if y is None else y
    settings = {"eps": 0.1, "steps": 5, "queries": 30} | options
    return evaluation.Obfuscation(model, x, y, **settings)


@pytest.fixture(scope="module")
def found():
    """What the checks find on the honest model, of which half the images fall to an eps of .1."""
    x = np.concatenate([images(0.45), images(0.2)])
    return checks(honest(), x, substitute=honest()).run()


def test_an_honest_linear_model_passes_every_check_that_applies(found):
    statuses = {name: check.status for name, check in found.items()}
    # Labels are of one class.
    not_run = {
        "answers_more_than_one_class", "training_surrogate_is_enough", "random_models_need_eot",
    }  # fmt: skip
    assert {name for name, status in statuses.items() if status == "not run"} == not_run
    assert {status for name, status in statuses.items() if name not in not_run} == {"pass"}
    assert evaluation.verdict(found) == "No sign of hidden gradients in 7 checks."
    # Mean pixel .45 falls to an eps of .1, mean pixel .2 does not.
    assert found["iterative_beats_single_step"].figures == {"pgd": 0.5, "fgsm": 0.5}


def test_without_a_gradient_search_is_better_and_all_gradients_are_zero():
    found = checks(blind(), images(0.46))
    search = found.gradient_beats_search()
    assert search.status == "fail"
    assert search.figures["sapgd"] >= 0.7  # a random start breaks some
    zero = found.gradients_are_not_zero()
    assert (zero.status, zero.figures) == ("fail", {"own": 1.0})
    assert found.loss_rises_along_gradient().status == "fail"
    # What survives is left to the random start.
    assert found.large_eps_reaches_zero().figures["accuracy_at_half"] > 0.1
    assert found.large_eps_reaches_zero().status == "fail"


def test_transfer_from_an_honest_substitute_uncovers_a_model_without_gradient():
    found = checks(blind(), images(0.46), substitute=honest()).white_box_beats_transfer()
    assert found.status == "fail"
    assert found.figures["transfer"] == 0.0


def test_without_a_substitute_there_is_no_check_of_transfer():
    assert checks(honest(), images(0.45)).white_box_beats_transfer().status == "not run"


@pytest.mark.parametrize(
    "dead, status", [(0, "pass"), (1, "pass"), (2, "warn"), (10, "warn"), (11, "fail")]
)
def test_the_share_of_zero_gradients_is_counted(dead, status):
    relu = keras.layers.Dense(2, activation="relu")
    model = sequential(relu)
    relu.set_weights([np.float32([[1, -1]] * 4), np.float32([-2, -2])])
    x = np.concatenate([images(0.1, dead), images(0.9, 100 - dead)])
    found = checks(model, x).gradients_are_not_zero()
    assert found.figures["own"] == pytest.approx(dead / 100)
    assert found.status == status


@pytest.mark.parametrize(
    "firm, status", [(0, "pass"), (1, "pass"), (2, "warn"), (10, "warn"), (11, "fail")]
)
def test_images_that_survive_half_the_range_are_counted(firm, status):
    # Class 0 below a mean pixel of .52: black images stay below even at eps 1/2.
    x = np.concatenate([images(0.0, firm), images(0.3, 100 - firm)])
    found = checks(linear([[-1, 1]] * 4, [2.08, -2.08]), x).large_eps_reaches_zero()
    assert found.figures["accuracy_at_half"] == pytest.approx(firm / 100)
    assert found.status == status


def test_the_loss_rises_along_the_gradient_of_a_linear_model_for_all():
    found = checks(honest(), images(0.3)).loss_rises_along_gradient()
    assert found.figures["share_ahead_of_random"] == 1.0
    # Logits -z and z with z = 4 (mean pixel - .5): loss log(1 + exp(2z)).
    lengths = np.array(found.figures["lengths"])
    np.testing.assert_allclose(lengths, [0.025, 0.05, 0.075, 0.1])
    expected = np.log1p(np.exp(8 * (0.3 + lengths - 0.5)))
    np.testing.assert_allclose(found.figures["loss_along_gradient"], expected, rtol=1e-5)


def test_more_steps_do_not_change_what_a_linear_model_loses():
    found = checks(honest(), np.concatenate([images(0.45), images(0.2)])).more_steps_never_help()
    assert found.status == "pass"
    assert found.figures == {"steps_5": 0.5, "steps_10": 0.5}


def test_a_model_that_draws_is_found_to_be_random():
    model = honest()
    noisy = keras.Sequential([keras.Input(SHAPE), *model.layers, Draw(1e-3)])
    found = checks(noisy, images(0.45)).random_models_need_eot()
    assert found.status == "pass"  # so little noise needs no averaging
    assert found.figures == {"eot_1": 0.0, "eot_10": 0.0}


def test_verdict_names_the_failed_first_then_the_doubtful():
    fail, warn = Check("fail", {}, ""), Check("warn", {}, "")
    passed, not_run = Check("pass", {}, ""), Check("not run", {}, "")
    text = evaluation.verdict({"a_b": fail, "c_d": warn, "e": passed, "f": fail})
    assert "failed a b, f." in text
    assert "c d" not in text
    text = evaluation.verdict({"c_d": warn, "e": passed})
    assert text == "No check failed, but look at: c d."
    text = evaluation.verdict({"e": passed, "g": not_run})
    assert text == "No sign of hidden gradients in 1 check."


def test_a_check_that_passes_says_by_how_many_points_in_the_figures_it_holds(found):
    says = found["iterative_beats_single_step"].says
    assert says == "PGD with 5 steps leaves as many as FGSM, 50.0%."
    (_, ours), (other, theirs) = found["gradient_beats_search"].figures.items()
    assert ours < theirs
    called = {"square": "Square with 30 queries", "random": "random signs"}[other]
    points = f"{100 * (theirs - ours):.3g}"
    said = f"SA-PGD leaves {points} points fewer than {called}, as it should."
    assert found["gradient_beats_search"].says == said


def test_more_steps_that_leave_more_are_told_by_the_step_where_it_happens():
    def with_shares(**shares):
        found = checks(honest(), images(0.45, 100), steps=50)
        found._attacks._right = {name: np.arange(100) < left for name, left in shares.items()}
        return found.more_steps_never_help()

    falls = with_shares(pgd10=55, pgd=45, pgd_double=39)
    assert falls.says == "PGD with 100 steps leaves 16 points fewer than with 10, as it should."
    assert falls.figures == {"steps_10": 0.55, "steps_50": 0.45, "steps_100": 0.39}
    rises = with_shares(pgd10=55, pgd=39, pgd_double=44)
    assert rises.status == "fail"
    said = "PGD with 100 steps leaves 5 points more than with 50. It should leave no more."
    assert rises.says == said
    (told,) = evaluation.explain({"more_steps_never_help": rises})
    assert told[:3] == ("more steps never help", "fail", said)
    assert told.means.startswith("The attack does not converge")
    assert "`strongest`" in told.next


def test_fewer_steps_than_ten_are_compared_in_the_order_of_their_number():
    found = checks(honest(), images(0.45, 100), steps=4)
    left = {"pgd": 60, "pgd_double": 50, "pgd10": 40}  # 4, 8 and 10 steps
    found._attacks._right = {name: np.arange(100) < share for name, share in left.items()}
    result = found.more_steps_never_help()
    assert result.status == "pass"
    assert list(result.figures.items()) == [("steps_4", 0.6), ("steps_8", 0.5), ("steps_10", 0.4)]


def test_every_check_that_can_go_wrong_has_words_for_what_it_means_and_what_to_do(found):
    for name, check in found.items():
        for status in ("pass", "not run"):
            told = evaluation.explain({name: Check(status, check.figures, check.says)})
            assert told == [(name.replace("_", " "), status, check.says, "", "")]
        for status in ("warn", "fail"):
            (told,) = evaluation.explain({name: Check(status, check.figures, check.says)})
            assert told.means.endswith(".")
            assert told.next.endswith(".")
    assert evaluation.explain({"of_tomorrow": Check("fail", {}, "So.")})[0][3:] == ("", "")


@hypothesis.given(hypothesis.strategies.integers(0, 720), hypothesis.strategies.integers(0, 720))
def test_the_points_told_are_the_difference_of_the_figures(one, other):
    says = check_words.compared("PGD", one / 720, "FGSM", other / 720, "as it should")
    number = re.search(r"leaves (\S+) points? (fewer|more)", says)
    if one == other:
        assert says == f"PGD leaves as many as FGSM, {one / 720:.1%}."
    else:
        assert float(number[1]) == pytest.approx(abs(one - other) / 7.2, rel=0.005)
        assert number[2] == ("fewer" if one < other else "more")
