"""The evaluation on hand-made models and attacks, against counts made by hand."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks, evaluation

# One pixel; class 1 above 1/2. Clean mistake: the fourth.
X = np.float32([[0.1], [0.4], [0.6], [0.45], [0.9]])
Y = np.array([0, 0, 1, 1, 1])


@pytest.fixture
def model():
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((1,)), dense])
    dense.set_weights([np.float32([[-5, 5]]), np.float32([2.5, -2.5])])
    return model


class Shift(attacks.Attack):
    """Moves every pixel by the same amount, and notes whom it was called for."""

    def __init__(self, by, eps=0.2, norm="linf"):
        super().__init__()
        self.by, self.eps, self.norm = by, eps, norm
        self.seen = []

    def perturb(self, target, x, y, draws):
        self.seen += [round(float(pixel), 3) for pixel in x[:, 0]]
        return tf.clip_by_value(x + self.by, 0.0, 1.0)


def shifts(**options):
    """Two attacks: up breaks the second sample (and mends the fourth), down the third."""
    return {"up": Shift(0.2, **options), "down": Shift(-0.2, **options)}


def test_the_figures_are_those_counted_by_hand(model):
    report = evaluation.evaluate(model, X, Y, shifts(), eps=0.2, drop_broken=False)
    assert report.n == 5
    assert report.clean == 4 / 5
    # Up: .3, .6, .8, .65, 1.   Down: 0, .2, .4, .25, .7.
    assert report.accuracy == {"up": 4 / 5, "down": 3 / 5}
    # Not .6, the least of the two: only the first and the last survive both.
    assert report.worst_case == 2 / 5
    assert report.worst_case_l2 is None


def test_a_sample_that_is_wrong_when_clean_does_not_survive_an_attack_that_mends_it(model):
    report = evaluation.evaluate(model, X, Y, {"up": Shift(0.2)}, eps=0.2)
    np.testing.assert_array_equal(report.survivors(), [True, False, True, False, True])


def test_spared_samples_are_not_attacked_and_the_worst_case_stays(model):
    thorough, sparing = shifts(), shifts()
    options = {"eps": 0.2, "batch_size": 1}
    full = evaluation.evaluate(model, X, Y, thorough, drop_broken=False, **options)
    spared = evaluation.evaluate(model, X, Y, sparing, drop_broken=True, **options)
    assert thorough["down"].seen == [0.1, 0.4, 0.6, 0.45, 0.9]
    assert sparing["up"].seen == [0.1, 0.4, 0.6, 0.9]
    assert sparing["down"].seen == [0.1, 0.6, 0.9]
    assert spared.worst_case == full.worst_case == 2 / 5
    # The spared count as broken.
    assert spared.accuracy == {"up": 3 / 5, "down": 2 / 5}


def test_nothing_is_left_to_attack_where_all_is_broken(model):
    later = Shift(-0.2)
    report = evaluation.evaluate(model, X, 1 - Y, {"up": Shift(0.2), "down": later}, eps=0.2)
    # Right when clean is the fourth alone, .45 called 0, which moving up breaks.
    assert report.clean == 1 / 5
    assert report.worst_case == 0.0
    assert report.accuracy["down"] == 0.0
    assert later.seen == []


def test_threat_models_are_counted_apart_and_noise_in_none(model):
    suite = {
        "linf": Shift(0.2),
        "l2": Shift(-0.2, norm="l2"),
        "noise": Shift(-0.45, norm="noise"),
    }
    report = evaluation.evaluate(model, X, Y, suite, eps=0.2, batch_size=1)
    assert report.worst_case == 3 / 5  # 1st, 3rd, 5th
    assert report.worst_case_l2 == 3 / 5  # 1st, 2nd, 5th
    # Noise meets every sample: 0, 0, .15, 0, .45.
    assert report.accuracy["noise"] == 2 / 5
    assert suite["noise"].seen == [0.1, 0.4, 0.6, 0.45, 0.9]
    assert suite["l2"].seen == [0.1, 0.4, 0.6, 0.9]


def test_without_an_attack_in_a_ball_there_is_no_worst_case(model):
    report = evaluation.evaluate(model, X, Y, {"noise": Shift(0.2, norm="noise")})
    assert report.worst_case is None
    assert "worst_case" not in report.shares()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_size_of_the_chunks_changes_no_figure(model, batch_size):
    report = evaluation.evaluate(model, X, Y, shifts(), eps=0.2, batch_size=batch_size)
    assert report.worst_case == 2 / 5
    assert report.accuracy == {"up": 3 / 5, "down": 2 / 5}


@pytest.mark.parametrize("drop_broken", [True, False])
def test_the_papers_attacks_break_what_lies_within_their_radius(model, drop_broken):
    # 7 steps of 0.01 cross the whole of a ball of 0.03, wherever they start.
    x = np.float32([[0.3], [0.46], [0.48], [0.52], [0.54], [0.7]])
    y = np.array([0, 0, 0, 1, 1, 1])
    suite = ["fgsm", "pgd", "bim"]
    report = evaluation.evaluate(model, x, y, suite, eps=0.03, drop_broken=drop_broken)
    assert list(report.records) == suite
    assert report.clean == 1.0
    assert report.accuracy == {name: pytest.approx(4 / 6) for name in suite}
    assert report.worst_case == pytest.approx(4 / 6)


@pytest.mark.parametrize("distance", [0.0001, 0.2])
def test_an_attack_that_leaves_its_ball_is_refused(model, distance):
    with pytest.raises(RuntimeError, match=r"Shift.* left its ball"):
        evaluation.evaluate(model, X, Y, {"cheat": Shift(0.1 + distance, eps=0.1)}, eps=0.1)


def test_an_l2_attack_that_leaves_its_ball_is_refused(model):
    cheat = Shift(0.2, eps=0.1, norm="l2")
    with pytest.raises(RuntimeError, match=r"Shift.* left its ball"):
        evaluation.evaluate(model, X, Y, {"cheat": cheat}, eps=0.1)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_an_attack_that_leaves_the_valid_pixels_is_refused(model, value):
    class Outside(attacks.Attack):
        eps = 1.0
        norm = "noise"

        def perturb(self, target, x, y, draws):
            return tf.fill(x.shape, np.float32(value))

    with pytest.raises(RuntimeError, match=r"outside \[0, 1\]"):
        evaluation.evaluate(model, X, Y, {"cheat": Outside()})


def test_a_liars_success_is_not_believed(model):
    class Liar(attacks.Attack):
        """Gives the image back, and says that it has broken every model."""

        eps = 0.1
        success = broken = True
        prediction = -1

        def perturb(self, target, x, y, draws):
            target.success = target.broken = tf.ones(x.shape[0], tf.bool)
            return x

    report = evaluation.evaluate(model, X, Y, {"liar": Liar()}, drop_broken=False)
    assert report.accuracy["liar"] == report.clean == 4 / 5
    assert report.worst_case == 4 / 5


def test_success_is_judged_in_inference_mode(model):
    forgetful = keras.Sequential([keras.Input((1,)), keras.layers.Dropout(0.999), *model.layers])
    report = evaluation.evaluate(forgetful, X, Y, shifts(), eps=0.2)
    assert report.clean == 4 / 5
    assert report.worst_case == 2 / 5


def test_two_attacks_of_one_class_are_told_apart_by_what_differs(model):
    # Under one label, one of the two would be lost unseen.
    weak, strong = attacks.BIM(eps=0.2, steps=1, step_size=0.05), attacks.BIM(eps=0.2, steps=20)
    report = evaluation.evaluate(model, X, Y, [strong, weak], eps=0.2)
    assert list(report.records) == ["bim steps=20", "bim step_size=0.05 steps=1"]
    with pytest.raises(ValueError, match="`attacks` names 'bim steps=20' twice"):
        evaluation.evaluate(model, X, Y, [strong, strong], eps=0.2)
    suite = {"strong": strong, "weak": weak}
    report = evaluation.evaluate(model, X, Y, suite, eps=0.2, drop_broken=False)
    assert report.accuracy == {"strong": 2 / 5, "weak": 4 / 5}
    assert report.worst_case == 2 / 5


def test_gradients_are_counted_by_image(model):
    suite = {"fgsm": attacks.FGSM(eps=0.01), "pgd": attacks.PGD(eps=0.01, steps=3, eot=2)}
    report = evaluation.evaluate(model, X, Y, suite, eps=0.01, batch_size=2)
    # Of the four that are right when clean.
    assert report.records["fgsm"].gradient_calls == 4
    assert report.records["pgd"].gradient_calls == 4 * 3 * 2


def test_each_sample_has_its_predictions_and_distances(model):
    rows = evaluation.evaluate(model, X, Y, shifts(), eps=0.2).per_sample
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["label"] for row in rows] == [0, 0, 1, 1, 1]
    assert [row["clean"] for row in rows] == [0, 0, 1, 0, 1]
    assert [row["up_prediction"] for row in rows] == [0, 1, 1, -1, 1]
    assert [row["down_prediction"] for row in rows] == [0, -1, 0, -1, 1]
    assert [row["broken_by"] for row in rows] == ["", "up", "down", "clean", ""]
    # 0.1 up or down at the ends, where the clipping takes the rest.
    approx = {"abs": 1e-6, "nan_ok": True}
    moved = {"up": [0.2, 0.2, 0.2, np.nan, 0.1], "down": [0.1, np.nan, 0.2, np.nan, 0.2]}
    for name, distances in moved.items():
        for figure in ("linf", "l2"):
            found = [row[f"{name}_{figure}"] for row in rows]
            assert found == pytest.approx(distances, **approx)
    # Cross-entropy of two logits -z and z, z = 5 x - 2.5, by hand: at .3, .6, .8 and 1.
    logits = np.array([-1.0, 0.5, -1.5, np.nan, -2.5])
    assert [row["up_loss"] for row in rows] == pytest.approx(np.log1p(np.exp(2 * logits)), **approx)


def test_distances_of_several_pixels_are_the_greatest_and_the_root_of_the_sum_of_squares():
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), dense])

    class Moves(attacks.Attack):
        eps = 0.3

        def perturb(self, target, x, y, draws):
            return x + tf.reshape(tf.constant([0.1, -0.2, 0.0, 0.2]), (1, 2, 2, 1))

    x = np.full((1, 2, 2, 1), 0.5, np.float32)
    report = evaluation.evaluate(model, x, np.array([0]), {"moves": Moves()}, drop_broken=False)
    assert report.records["moves"].linf[0] == pytest.approx(0.2, abs=1e-6)
    assert report.records["moves"].l2[0] == pytest.approx(0.3, abs=1e-6)


def test_the_json_says_what_was_measured(model, tmp_path):
    report = evaluation.evaluate(model, X, Y, shifts(), eps=0.2, batch_size=4, seed=3)
    report.checks = {"more_steps": evaluation.Check("pass", {"steps_10": 0.5}, "It falls.")}
    report.to_json(tmp_path / "paper.json")
    assert os.listdir(tmp_path) == ["paper.json"]
    found = json.loads((tmp_path / "paper.json").read_text())
    assert found == report.to_dict()
    assert (found["n"], found["eps"], found["clean"]) == (5, 0.2, 0.8)
    assert found["accuracy"] == {"up": 0.6, "down": 0.4}
    assert (found["worst_case"], found["worst_case_l2"]) == (0.4, None)
    check = {"status": "pass", "figures": {"steps_10": 0.5}, "says": "It falls."}
    assert found["checks"] == {"more_steps": check}
    assert found["verdict"] == "No sign of hidden gradients in 1 check."
    assert found["config"]["seed"] == 3
    assert found["config"]["batch_size"] == 4
    assert set(found["intervals"]) == {"clean", "up", "down", "worst_case"}
    # Wilson, 2 of 5 and 4 of 5, by hand with z = 1.959964.
    assert found["intervals"]["worst_case"] == pytest.approx([0.117621, 0.769276], abs=1e-6)
    assert found["intervals"]["clean"] == pytest.approx([0.375535, 0.963776], abs=1e-6)


def test_numbers_of_numpy_are_written_as_numbers(model, tmp_path):
    report = evaluation.evaluate(
        model, X, Y, {"up": Shift(0.2)}, eps=np.float32(0.25), batch_size=np.int64(2),
        seed=np.int64(3),
    )  # fmt: skip
    report.to_json(tmp_path / "paper.json")
    found = json.loads((tmp_path / "paper.json").read_text())
    assert (found["eps"], found["config"]["seed"]) == (0.2, 3)


def full_disk(_):
    raise OSError("No space left on device")


def test_a_report_that_cannot_be_written_leaves_the_one_before(model, tmp_path, monkeypatch):
    path = tmp_path / "paper.json"
    report = evaluation.evaluate(model, X, Y, {"up": Shift(0.2)}, eps=0.2)
    report.to_json(path)
    before = path.read_text()
    report.command = "another"
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        report.to_json(path)
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["paper.json"]


@pytest.mark.parametrize(
    "options, name",
    [
        ({"y": np.array([0, 0, 1, 1, 2])}, "y"),
        ({"y": Y[:4]}, "y"),
        ({"x": (X * 255).astype(np.uint8)}, "x"),
        ({"x": X * 2}, "x"),
        ({"eps": -0.1}, "eps"),
        ({"eps": 8}, "eps"),
        ({"batch_size": 0}, "batch_size"),
        ({"attacks": "everything"}, "attacks"),
        ({"attacks": []}, "attacks"),
        ({"attacks": ["fgsm", "deepfool"]}, "attacks?"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_attack(model, options, name):
    spy = Shift(0.1)
    arguments = {"x": X, "y": Y, "attacks": {"spy": spy}, **options}
    with pytest.raises(ValueError, match=f"`{name}`") as raised:
        evaluation.evaluate(model, **arguments)
    assert "\n" not in str(raised.value)
    assert spy.seen == []


def test_the_progress_is_told_of_every_attack_and_sample(model, listener):
    evaluation.evaluate(model, X, Y, shifts(), eps=0.2, batch_size=2, progress=listener)
    assert listener.heard == [("up", 4), (2, 1), (2, 3), ("down", 3), (2, 1), (1, 2)]


@pytest.mark.parametrize("kind", [attacks.Ensemble, attacks.MultiTargeted])
def test_the_gradients_of_the_attempt_that_breaks_the_last_sample_are_counted(model, kind):
    targeted = kind is attacks.MultiTargeted
    member = attacks.BIM(eps=1.0, steps=3, step_size=1.0, targeted=targeted)
    report = evaluation.evaluate(model, X, Y, {"a": kind(member)}, eps=1.0)
    assert report.worst_case == 0
    assert report.records["a"].gradient_calls == 3 * report.clean_correct.sum()
