"""An evaluation in parts: put together, it is the evaluation of all, and nothing else will do."""

import csv

import keras
import numpy as np
import pytest

from keras_mpdsgr import attacks, evaluation, models

N, BATCH = 12, 4
X = np.random.default_rng(0).random((N, 8, 8, 1)).astype(np.float32)
EPS = 0.1
SUITE = {
    "fgsm": attacks.FGSM(eps=EPS),
    "pgd": attacks.PGD(eps=EPS, steps=2, step_size=EPS / 2),
    "uniform": attacks.UniformNoise(bound=EPS),
}
BLOCKS = (np.arange(0, 4), np.arange(4, 12))


@pytest.fixture(scope="module")
def model(shallow):
    """Draws its spikes at random, and so tells which draws it was given."""
    return models.vgg11((8, 8, 1), 3, timesteps=2, width=0.02, coding="poisson")


@pytest.fixture(scope="module")
def labels(model):
    """Half of them right."""
    y = evaluation.predictor.Predictor(model, BATCH)(X, np.zeros(N, int))[0]
    return np.where(np.arange(N) % 2, y, (y + 1) % 3)


def evaluate(model, x, y, suite=SUITE, **options):
    settings = {"eps": EPS, "batch_size": BATCH, "drop_broken": False, "eot": 1, "seed": 3}
    return evaluation.evaluate(model, x, y, suite, **settings | options)


@pytest.fixture(scope="module")
def written(model, labels, tmp_path_factory):
    """Journals of two parts, by their samples' numbers."""
    folder = tmp_path_factory.mktemp("parts")
    parts = {}
    for number, block in enumerate(BLOCKS):
        path = folder / f"{number}.csv"
        evaluate(model, X[block], labels[block], journal=path, indices=block)
        parts[path] = block
    return parts


def not_called(other):
    """An attack of another's class name and arguments that fails where it is called."""

    def perturb(self, target, x, y, draws):
        raise AssertionError("a sample is attacked again")

    kind = type(type(other).__name__, (type(other),), {"perturb": perturb})
    return kind(**other.get_config())


def rows(path):
    with path.open(newline="") as file:
        kept = ("attack", "index", "label", "prediction", "loss", "linf", "l2", "gradient_calls")
        return sorted([row[name] for name in kept] for row in csv.DictReader(file))


def test_parts_put_together_are_the_evaluation_of_all_to_the_last_digit(
    model, labels, written, tmp_path
):
    whole = evaluate(model, X, labels, journal=tmp_path / "whole.csv")
    assert 0 < whole.clean < 1
    untouched = {name: not_called(attack) for name, attack in SUITE.items()}
    merged = evaluate(model, X, labels, untouched, journal=tmp_path / "merged.csv", parts=written)
    assert rows(tmp_path / "merged.csv") == rows(tmp_path / "whole.csv")
    assert len(rows(tmp_path / "merged.csv")) == N * (1 + len(SUITE))
    ours, theirs = merged.to_dict(), whole.to_dict()
    for record in (*ours["attacks"].values(), *theirs["attacks"].values()):
        del record["seconds"], record["attack"]  # the class of the untouched ones is another
    assert ours == theirs
    again = evaluate(model, X, labels, untouched, journal=tmp_path / "merged.csv", parts=written)
    assert again.shares() == whole.shares()
    assert len(rows(tmp_path / "merged.csv")) == N * (1 + len(SUITE))


def test_what_no_part_holds_is_attacked(model, labels, written, tmp_path):
    first = dict([next(iter(written.items()))])
    evaluate(model, X, labels, journal=tmp_path / "merged.csv", parts=first)
    evaluate(model, X, labels, journal=tmp_path / "whole.csv")
    assert rows(tmp_path / "merged.csv") == rows(tmp_path / "whole.csv")


def test_a_part_knows_its_samples_by_their_numbers(model, labels):
    block = BLOCKS[1]
    report = evaluate(model, X[block], labels[block], {"fgsm": SUITE["fgsm"]}, indices=block)
    assert [row["index"] for row in report.per_sample] == block.tolist()
    assert [row["label"] for row in report.per_sample] == labels[block].tolist()


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"batch_size": 3}, {"drop_broken": True}, {"eot": 2}, {"suite": ["fgsm"]}],
    ids=str,
)
def test_parts_of_other_settings_are_refused(model, labels, written, change):
    with pytest.raises(ValueError, match="`parts` must be computed by the same model.*0.csv"):
        evaluate(model, X, labels, parts=written, **change)


def test_parts_of_other_weights_images_or_labels_are_refused(model, labels, written):
    keras.utils.set_random_seed(7)
    other = models.vgg11((8, 8, 1), 3, timesteps=2, width=0.02, coding="poisson")
    for changed in ((other, X, labels), (model, X[::-1], labels), (model, X, labels[::-1])):
        with pytest.raises(ValueError, match="`parts` must be computed by the same model"):
            evaluate(*changed, parts=written)


def test_a_sample_in_two_parts_or_twice_in_one_is_refused(model, labels, written, tmp_path):
    first, second = written
    with pytest.raises(ValueError, match="`parts` must hold each sample once.*number 4 twice"):
        evaluate(model, X, labels, parts={first: np.arange(5), second: BLOCKS[1]})
    lines = first.read_text().splitlines(keepends=True)
    (tmp_path / "twice.csv").write_text("".join([*lines, lines[-1]]))
    with pytest.raises(ValueError, match="twice.csv, which holds sample 3 of uniform twice"):
        evaluate(model, X, labels, parts={tmp_path / "twice.csv": BLOCKS[0]})


@pytest.mark.parametrize("parts", [[1], {3: [0]}, {"a.csv": [99]}, {"a.csv": [0.5]}])
def test_what_is_no_part_is_refused(model, labels, parts):
    with pytest.raises(ValueError, match="`(parts|indices)` must .* Received: "):
        evaluate(model, X, labels, parts=parts)


@pytest.mark.parametrize("indices", [[0], "abc", [-1, *range(11)], [0.5] * 12, [1] * 12])
def test_what_are_no_numbers_of_samples_is_refused(model, labels, indices):
    with pytest.raises(ValueError, match="`indices` must .* Received: "):
        evaluate(model, X, labels, indices=indices)


def test_no_attack_may_be_called_clean(model, labels):
    with pytest.raises(ValueError, match="`attacks` must not call an attack 'clean'"):
        evaluate(model, X, labels, {"clean": SUITE["fgsm"]})
