import dataclasses
import pathlib
import shutil

import keras
import numpy as np
import pytest
import scipy.special
from absl import flags

from keras_mpdsgr import LIFLayer, attacks, data, experiments, layers, models
from trainers import predict as command
from trainers import program

EPS = 32 / 255
SAVED = pathlib.Path(__file__).parents[2] / "saved_models" / "digits"


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", limit_test=6)


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(digits.x_test):
        keras.utils.save_img(folder / f"{number}.png", image, scale=False)
    return folder


@pytest.fixture(scope="module")
def model():
    return models.load("digits")


@pytest.fixture(scope="module")
def told(model, folder, tmp_path_factory):
    """Predictions with an attack, its images written."""
    output = tmp_path_factory.mktemp("adversarial")
    return experiments.predict(model, folder, top=10, attack="fgsm", eps=EPS, output=output)


def shares_of(model, x):
    return scipy.special.softmax(np.asarray(model(x, training=False), np.float64), axis=1)


def test_names_and_probabilities_are_the_softmax_of_the_logits(model, folder, digits, told):
    shares = shares_of(model, data.to_pixels(digits.x_test))
    assert [p.path for p in told] == [folder / f"{number}.png" for number in range(6)]
    for prediction, row in zip(told, shares, strict=True):
        assert dict(prediction.ranking) == pytest.approx(
            {str(number): share for number, share in enumerate(row)}, abs=1e-6
        )
        probabilities = [p for _, p in prediction.ranking]
        assert probabilities == sorted(probabilities, reverse=True)
        assert (prediction.class_name, prediction.probability) == prediction.ranking[0]
    assert [int(p.class_name) for p in told] == digits.y_test.tolist()


def test_what_is_told_of_an_attack_is_what_the_model_says_of_its_images(model, digits, told):
    x = data.to_pixels(digits.x_test)
    adversarial = np.stack([p.attacked.image for p in told])
    assert np.abs(adversarial - x).max() <= EPS + 1e-6
    shares = shares_of(model, adversarial)
    clean = shares_of(model, x).argmax(axis=1)
    flipped = [p.attacked.flipped for p in told]
    assert flipped == (shares.argmax(axis=1) != clean).tolist()
    assert 0 < sum(flipped) < 6
    for prediction, row in zip(told, shares, strict=True):
        assert prediction.attacked.ranking[0][1] == pytest.approx(row.max(), abs=1e-5)


def test_the_label_of_an_attack_is_the_models_own_prediction(model, digits, told):
    predicted = shares_of(model, data.to_pixels(digits.x_test)).argmax(axis=1)
    images = attacks.FGSM(eps=EPS)(model, data.to_pixels(digits.x_test), predicted)
    np.testing.assert_array_equal(images, [p.attacked.image for p in told])


def test_saved_images_are_the_nearest_levels_and_are_judged_as_they_are_saved(model, told):
    paths = [p.attacked.path for p in told]
    assert [path.name for path in paths] == [f"{number}-fgsm.png" for number in range(6)]
    saved = data.read_images(paths, (16, 16, 1))
    images = np.stack([p.attacked.image for p in told])
    assert np.abs(saved - images).max() <= 0.5 / 255 + 1e-6
    again = experiments.predict(model, paths, top=10)
    for before, after in zip(told, again, strict=True):
        assert after.ranking[0] == pytest.approx(before.attacked.rounded[0], abs=1e-6)
        assert before.attacked.rounded_flipped == (after.class_name != before.class_name)


def test_images_of_one_name_get_files_of_their_own_and_none_is_replaced(folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes((folder / "0.png").read_bytes())
    taken = tmp_path / "a" / "0-fgsm.png"
    taken.write_bytes((folder / "0.png").read_bytes())
    given = [tmp_path / "a" / "0.png", taken, tmp_path / "b" / "0.png"]
    told = experiments.predict(small(), given, attack="fgsm", output=tmp_path / "a")
    names = [p.attacked.path.name for p in told]
    assert names == ["0-fgsm-2.png", "0-fgsm-fgsm.png", "0-fgsm-3.png"]
    assert taken.read_bytes() == (folder / "0.png").read_bytes()


def small(*last, channels=3):
    return keras.Sequential(
        [keras.Input((8, 8, channels)), keras.layers.Flatten(), keras.layers.Dense(3), *last]
    )


@pytest.mark.parametrize("kind", ["name", "file", "run"])
def test_a_model_is_named_by_saved_model_file_or_run_folder(kind, folder, tmp_path, monkeypatch):
    place = tmp_path / "tiny"
    place.mkdir()
    image = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(image))
    model = models.SpikingModel(image, logits)
    model.class_names = ("ant", "bee", "cat")
    model.save(place / "model.keras")
    shutil.copy(SAVED / "config.json", place)
    monkeypatch.setenv("KERAS_MPDSGR_MODELS", str(tmp_path))
    given = {"name": "tiny", "file": place / "model.keras", "run": place}[kind]
    (prediction,) = experiments.predict(given, folder / "0.png")
    assert prediction == experiments.predict(model, folder / "0.png")[0]
    assert prediction.class_name in model.class_names and len(prediction.ranking) == 1


def test_a_model_without_class_names_tells_their_numbers(folder):
    (prediction,) = experiments.predict(small(), folder / "0.png", top=5)
    assert sorted(name for name, _ in prediction.ranking) == ["0", "1", "2"]
    assert sum(share for _, share in prediction.ranking) == pytest.approx(1)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_that_a_model_gives_itself_are_told_as_they_are(folder, activation):
    model = small(keras.layers.Activation(activation), channels=1)
    x = data.read_images(folder / "0.png", (8, 8, 1))
    (prediction,) = experiments.predict(model, folder / "0.png", top=3)
    outputs = np.asarray(model(x))[0]
    assert {int(name): p for name, p in prediction.ranking} == pytest.approx(
        dict(enumerate(outputs)), abs=1e-5
    )


def test_a_random_model_is_asked_several_times(folder):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.PoissonEncoder(2, seed=0),
            layers.FoldTime(keras.layers.Flatten()),
            LIFLayer(),
            layers.FoldTime(keras.layers.Dense(3)),
            layers.TemporalMean(),
        ]
    )
    first, again = (experiments.predict(model, folder, top=3) for _ in range(2))
    assert [p.ranking for p in first] == [p.ranking for p in again]
    other = experiments.predict(model, folder, top=3, seed=1)
    assert [p.ranking for p in first] != [p.ranking for p in other]


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"model": "no_such"}, "no saved model of that name"),
        ({"paths": "no_such.png"}, "There is no image at no_such.png"),
        ({"paths": __file__}, "is not a readable image"),
        ({"output": "somewhere"}, "needs an `attack`"),
        ({"model": keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])},
         "Received: a model of input shape (None, 4)"),
        ({"model": keras.Sequential([keras.Input((None, None, 3))])}, "a fixed height and width"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_is_one_line(arguments, said, model, folder):
    with pytest.raises(experiments.SetupError) as caught:
        experiments.predict(**{"model": model, "paths": folder, **arguments})
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_that_is_not_finished_says_so(tmp_path, folder):
    shutil.copy(SAVED / "config.json", tmp_path)
    with pytest.raises(experiments.SetupError, match="holds no trained model yet"):
        experiments.predict(tmp_path, folder)


# The program


def run_program(monkeypatch, told, *words):
    """The program up to the library and from there on; returns what it asks the library for."""
    asked = {}
    values = flags.FlagValues()
    names = command.define(into=values)
    rest = program.parsed(["trainers.predict", *map(str, words)], values, positional=True)
    monkeypatch.setattr(program, "values", lambda listed: {n: values[n].value for n in listed})
    monkeypatch.setattr(
        experiments, "predict", lambda *a, **k: asked.update(k, model=a[0], paths=a[1]) or told
    )
    command.main(rest[1:], names)
    return asked


def test_the_program_writes_a_line_an_image(told, folder, capsys, monkeypatch):
    plain = [dataclasses.replace(p, ranking=p.ranking[:2], attacked=None) for p in told]
    asked = run_program(monkeypatch, plain, "digits", folder, "--top=2")
    usual = {"attack": None, "eps": 8 / 255, "output": None, "seed": 0}
    assert asked == {"model": "digits", "paths": [str(folder)], "top": 2, **usual}
    said = capsys.readouterr()
    assert said.err == ""
    for line, prediction in zip(said.out.splitlines(), told, strict=True):
        path, *pairs = line.split("\t")
        assert path == str(prediction.path)
        expected = [text for n, p in prediction.ranking[:2] for text in (n, f"{p:.4f}")]
        assert pairs == expected


def test_the_program_says_whether_the_attack_flips_and_whether_the_file_does(
    told, folder, capsys, monkeypatch
):
    one = [
        dataclasses.replace(
            p,
            ranking=p.ranking[:1],
            attacked=dataclasses.replace(
                p.attacked, ranking=p.attacked.ranking[:1], rounded=p.attacked.rounded[:1]
            ),
        )
        for p in told
    ]
    asked = run_program(monkeypatch, one, "digits", folder, "--attack", "--output=there")
    assert (asked["attack"], asked["output"]) == ("sapgd", "there")
    said = capsys.readouterr()
    words = {True: "flipped", False: "kept"}
    for line, prediction in zip(said.out.splitlines(), told, strict=True):
        _, name, _, attack, after, _, outcome, path, rounded, _, last = line.split("\t")
        attacked = prediction.attacked
        assert (name, attack, after) == (prediction.class_name, "fgsm:", attacked.ranking[0][0])
        assert outcome == words[attacked.flipped]
        assert path == f"{attacked.path}:"
        assert (rounded, last) == (attacked.rounded[0][0], words[attacked.rounded_flipped])
    flipped = sum(p.attacked.flipped for p in told)
    assert said.err == f"fgsm flips {flipped} of 6 predictions, which it took for the labels.\n"


@pytest.mark.parametrize(
    "words, attack",
    [(["a"], None), (["--attack", "a"], "sapgd"), (["--attack=pgd", "a"], "pgd")],
)
def test_the_attack_may_be_named_or_not(words, attack):
    values = flags.FlagValues()
    command.define(into=values)
    assert program.parsed(["program", *words], values, positional=True) == ["program", "a"]
    assert values["attack"].value == attack


def test_the_program_needs_a_model_and_images(monkeypatch):
    with pytest.raises(program.SetupError, match="name a model and images"):
        run_program(monkeypatch, [], "digits")
