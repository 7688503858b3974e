"""The journal: what a killed evaluation has written is gone on from, and nothing else."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import attacks, evaluation
from keras_mpdsgr.evaluation.journal import Journal

X = np.float32([[0.1], [0.4], [0.6], [0.45], [0.9]])
Y = np.array([0, 0, 1, 1, 1])
EPS = 0.12


class Counting(attacks.BIM):
    """BIM that counts the images it is given, and breaks down at one of its calls."""

    def __init__(self, fails_at=None, **options):
        super().__init__(eps=EPS, steps=12, step_size=0.02, **options)
        self.calls, self._fails_at = 0, fails_at

    def perturb(self, target, x, y, draws):
        if self.calls == self._fails_at:
            raise OSError("the power is gone")
        self.calls += 1
        return super().perturb(target, x, y, draws)

    def __repr__(self):
        return "Counting()"


class Noise(attacks.UniformNoise):
    """Uniform noise under a name of its own."""


@pytest.fixture(scope="module")
def compiled_once():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])


@pytest.fixture
def model(compiled_once):
    compiled_once.set_weights([np.float32([[-5, 5]]), np.float32([2.5, -2.5])])
    return compiled_once


def evaluate(model, journal, counting=None, **options):
    suite = {"bim": counting or Counting(), "noise": Noise(bound=0.3)}
    settings = {"batch_size": 1, "seed": 3, "eps": EPS, "journal": journal} | options
    return evaluation.evaluate(model, X, Y, suite, **settings)


def assert_same_report(found, expected):
    np.testing.assert_array_equal(found.clean_prediction, expected.clean_prediction)
    assert found.records.keys() == expected.records.keys()
    for name, record in expected.records.items():
        np.testing.assert_array_equal(found.records[name].prediction, record.prediction)
        for figure in ("loss", "linf", "l2"):
            ours, theirs = getattr(found.records[name], figure), getattr(record, figure)
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        assert found.records[name].gradient_calls == record.gradient_calls, name
    assert found.worst_case == expected.worst_case


def test_the_journal_changes_no_figure(model, tmp_path):
    assert_same_report(evaluate(model, tmp_path / "j.csv"), evaluate(model, None))


def test_a_second_call_attacks_nothing(model, tmp_path):
    first, second = Counting(), Counting()
    expected = evaluate(model, tmp_path / "j.csv", first)
    found = evaluate(model, tmp_path / "j.csv", second)
    # The fourth image is wrong when clean and so spared.
    assert (first.calls, second.calls) == (4, 0)
    assert_same_report(found, expected)
    assert found.records["bim"].seconds == pytest.approx(expected.records["bim"].seconds, abs=1e-4)


def test_a_run_broken_in_the_middle_goes_on_to_the_same_report(model, tmp_path):
    for fails_at in range(4):
        journal = tmp_path / f"{fails_at}.csv"
        with pytest.raises(OSError, match="the power is gone"):
            evaluate(model, journal, Counting(fails_at=fails_at))
        again = Counting()
        found = evaluate(model, journal, again)
        assert again.calls == 4 - fails_at
        assert_same_report(found, evaluate(model, None))


def test_a_file_cut_at_any_byte_leads_to_the_same_report(model, tmp_path):
    expected = evaluate(model, tmp_path / "whole.csv")
    whole = (tmp_path / "whole.csv").read_bytes()
    journal = tmp_path / "cut.csv"
    # Each byte of the end of a row in the middle, and every 25th of the rest.
    end = len(b"\r\n".join(whole.split(b"\r\n")[:4]))
    for cut in sorted({*range(0, len(whole), 25), *range(end - 20, end + 3)}):
        journal.write_bytes(whole[:cut])
        assert_same_report(evaluate(model, journal), expected)


def test_a_file_cut_at_any_byte_yields_only_rows_that_were_written(tmp_path):
    figures = {
        "prediction": np.array([3, 1]),
        "loss": np.float64([0.25, 12.75]),
        "linf": np.float64([0.03125, 0.0625]),
        "l2": np.float64([0.5, 1.25]),
        "right": np.array([1, 0]),
        "grid": np.array([-1, 2]),
    }
    whole = tmp_path / "whole.csv"
    journal = Journal(whole, "settings")
    journal.append("pgd", np.array([4, 7]), np.array([3, 2]), figures, 3.0, 2 * 101)
    content = whole.read_bytes()
    for cut in range(len(content) + 1):
        path = tmp_path / "cut.csv"
        path.write_bytes(content[:cut])
        done = Journal(path, "settings").done("pgd")
        n = len(done.indices)
        np.testing.assert_array_equal(done.indices, [4, 7][:n])
        for name, values in figures.items():
            np.testing.assert_array_equal(done.values[name], values[:n])
        assert done.gradient_calls == 101 * n, f"cut after byte {cut} of {len(content)}"
        assert done.seconds == pytest.approx(1.5 * n)


@pytest.mark.parametrize("change", [{"seed": 4}, {"batch_size": 2}, {"drop_broken": False}])
def test_rows_of_other_settings_are_not_gone_on_with(model, tmp_path, change):
    evaluate(model, tmp_path / "j.csv")
    counting = Counting()
    found = evaluate(model, tmp_path / "j.csv", counting, **change)
    assert counting.calls > 0
    assert_same_report(found, evaluate(model, None, **change))


def test_rows_of_other_weights_are_not_gone_on_with(model, tmp_path):
    evaluate(model, tmp_path / "j.csv")
    model.set_weights([2 * weight for weight in model.get_weights()])
    counting = Counting()
    evaluate(model, tmp_path / "j.csv", counting)
    assert counting.calls == 4


def test_a_journal_of_other_bytes_is_begun_anew(model, tmp_path):
    (tmp_path / "j.csv").write_text("this is, no journal\n1,2,3\n")
    counting = Counting()
    assert_same_report(evaluate(model, tmp_path / "j.csv", counting), evaluate(model, None))
    assert counting.calls == 4


def test_no_part_file_is_left(model, tmp_path):
    evaluate(model, tmp_path / "j.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["j.csv"]


def test_attacks_given_to_the_journal_are_told_apart(tmp_path):
    journal = Journal(tmp_path / "j.csv", "settings")
    names = ("prediction", "loss", "linf", "l2", "right", "grid")
    one = {name: np.array([1.0]) for name in names}
    journal.append("a", np.array([0]), np.array([1]), one, 1.0, 7)
    again = Journal(tmp_path / "j.csv", "settings")
    assert again.done("a").indices.tolist() == [0]
    assert again.done("b").indices.tolist() == []
