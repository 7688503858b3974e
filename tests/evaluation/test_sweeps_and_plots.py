"""Sweeps against single evaluations, pictures on disk, suites by name, the paired test."""

import keras
import matplotlib.image
import numpy as np
import pytest
import scipy.stats

from keras_mpdsgr import attacks, evaluation
from keras_mpdsgr.evaluation import plots, suites


@pytest.fixture
def model():
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((1,)), dense])
    dense.set_weights([np.float32([[-5, 5]]), np.float32([2.5, -2.5])])
    return model


X = np.float32([[0.1], [0.3], [0.4], [0.45], [0.48], [0.55], [0.7]])
Y = np.array([0, 0, 0, 0, 0, 1, 1])


def test_a_sweep_over_eps_counts_what_lies_within_each_radius(model):
    values = (0.0, 0.03, 0.06, 0.11, 0.25, 0.5)
    found = evaluation.sweep(model, X, Y, "eps", values, "fgsm")
    assert found.counts == (7, 6, 4, 3, 1, 0)
    assert found.accuracy == [count / 7 for count in (7, 6, 4, 3, 1, 0)]
    assert (found.name, found.values, found.total) == ("eps", values, 7)


def test_a_sweep_over_steps_is_single_evaluations(model):
    values = [1, 3, 5, 11]
    arguments = {"eps": 0.2, "step_size": 0.02}
    found = evaluation.sweep(model, X, Y, "steps", values, "bim", arguments=arguments)
    single = []
    for steps in values:
        attack = attacks.BIM(steps=steps, **arguments)
        report = evaluation.evaluate(model, X, Y, {"bim": attack}, eps=0.2, drop_broken=False)
        single.append(int(report.correct("bim").sum()))
    assert list(found.counts) == single
    # 1, 3, 5 and 10 steps of .02 reach .02, .06, .1 and .2; .48 and .4 lie on the edge of two.
    assert single[1] == 4
    assert single[3] == 1 + 1  # .1 and .3 (.2 away, on the edge, still class 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("width", [1]), "`name` must be"),
        (("eps", []), "`values` must be a list of at least one value"),
    ],
)
def test_a_sweep_of_nothing_known_is_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluation.sweep(model, X, Y, *arguments)


def read_picture(path, height, width):
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # no part file
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = matplotlib.image.imread(path)[..., :3]
    assert pixels.shape == (height, width, 3)
    return pixels


def test_a_sweeps_picture_is_written_whole(tmp_path):
    path = tmp_path / "sweep.png"
    plots.plot_sweep(path, "eps", [0, 1, 2], [100, 60, 10], 100, unit="/255")
    pixels = read_picture(path, height=561, width=768)
    blue = (pixels[..., 2] > 0.6) & (pixels[..., 0] < 0.3)
    assert blue.sum() > 200  # the curve
    curve = np.flatnonzero(blue.any(axis=0))
    lines = [np.flatnonzero(blue[:, column]).mean() for column in (curve[10], curve[-10])]
    assert lines[1] > lines[0] + 100  # it falls


def test_a_picture_of_images_shows_them_and_what_became_of_them(tmp_path):
    path = tmp_path / "images.png"
    x = np.zeros((8, 4, 4, 1), np.float32)
    adversarial = x + np.float32(0.1)
    plots.plot_images(path, x, adversarial, ["a"] * 8, ["b"] * 8, columns=3)
    pixels = read_picture(path, height=652, width=576)
    black = (pixels < 0.01).all(axis=-1).mean()
    dark = (abs(pixels - 0.1) < 0.01).all(axis=-1).mean()
    # Rows of equal size: black images, those at .1, and the difference, at full contrast white.
    assert black > 0.1
    assert dark > 0.1
    assert dark == pytest.approx(black, rel=0.1)


def test_a_title_stands_above_the_images_and_takes_no_room_of_theirs(tmp_path):
    x = np.zeros((3, 4, 4, 1), np.float32)
    heights, black = [], []
    for lines, title in enumerate(
        ("", "model: pgd", "a model of some name, attacked by pgd within eps 8/255, 3 images")
    ):
        folder = tmp_path / str(lines)
        folder.mkdir()
        plots.plot_images(folder / "images.png", x, x + 0.1, "abc", "bca", title=title)
        pixels = matplotlib.image.imread(folder / "images.png")[..., :3]
        heights.append(len(pixels))
        black.append((pixels < 0.01).all(axis=-1).sum())
    assert np.diff(heights).tolist() == [24, 24]  # a line of .2 inches, 120 dots each
    assert black == pytest.approx([black[0]] * 3, rel=0.1)


def test_a_picture_over_an_older_one_takes_its_place(tmp_path):
    path = tmp_path / "sweep.png"
    path.write_bytes(b"old")
    plots.plot_sweep(path, "steps", [1, 2], [5, 0], 10)
    read_picture(path, height=561, width=768)


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_builds_attacks_of_the_radii_asked_for(name):
    chosen = suites.suite(name, eps=0.05, eps_l2=0.7)
    assert len(chosen) >= 2
    assert all(isinstance(attack, attacks.Attack) for attack in chosen.values())
    radii = {(attack.norm, getattr(attack, "eps", None)) for attack in chosen.values()}
    assert radii <= {("linf", 0.05), ("l2", 0.7), ("l2", None), ("noise", None)}
    assert ("linf", 0.05) in radii


def test_the_strongest_suite_climbs_from_the_images_of_three_attacks():
    strongest = suites.suite("strongest", eps=0.05, eps_l2=0.7)
    climbs = [one for one in strongest.values() if isinstance(one, attacks.HillClimbing)]
    assert [one.queries for one in climbs] == [3000] * 3
    kinds = [type(one.start) for one in climbs]
    assert kinds == [attacks.SAPGD, attacks.MultiTargeted, attacks.MultiTargeted]
    backwards = [one for attack in strongest.values() for one, _ in attack.passes() if one]
    assert {one["gradient"] for one in backwards} == {"assg"}


def test_autoattack_is_its_four_attacks_with_the_public_constants():
    common = {"eps": 0.05, "gradient": "bptt"}
    assert suites.suite("autoattack", eps=0.05) == {
        "apgd_ce": attacks.APGD(steps=100, restarts=1, **common),
        "apgd_t": attacks.MultiTargeted(
            attacks.APGD(steps=100, loss="dlr", targeted=True, restarts=1, **common), targets=9
        ),
        "fab_t": attacks.FAB(steps=100, targets=9, restarts=1, **common),
        "square": attacks.Square(0.05, steps=5000, initial_share=0.8, rescale_schedule=False),
    }
    random = suites.suite("autoattack_rand", eps=0.05, eot=3)
    assert [(one.loss, one.eot) for one in random.values()] == [("cross_entropy", 20), ("dlr", 20)]


@pytest.mark.parametrize("name", ["autoattack", "autoattack_rand"])
def test_autoattack_through_assg_says_so_in_its_labels(name):
    plain, assg = suites.suite(name, eps=0.05), suites.suite(f"{name}_assg", eps=0.05)
    for (label, attack), (other_label, other) in zip(plain.items(), assg.items(), strict=True):
        suffix = "" if label == "square" else "_assg"
        assert (other_label, type(other)) == (label + suffix, type(attack))
        gradients = [one["gradient"] for one, _ in other.passes() if one is not None]
        assert set(gradients) == ({"assg"} if suffix else set())


def test_labels_are_names_classes_or_those_given():
    bim = attacks.BIM()
    assert list(suites.suite(["fgsm", bim], eps=0.05)) == ["fgsm", "bim"]
    assert suites.suite({"mine": bim}, eps=0.05) == {"mine": bim}
    with pytest.raises(ValueError, match="names 'bim' twice"):
        suites.suite([bim, "bim"], eps=0.05)
    with pytest.raises(ValueError, match="at least one attack"):
        suites.suite([], eps=0.05)


@pytest.mark.parametrize(
    "name, sparing",
    [("paper", False), ("standard", True), ("strongest", True), ("autoattack_assg", True)],
)
def test_all_suites_but_the_papers_spare_what_is_broken(model, monkeypatch, name, sparing):
    two = {"fgsm": attacks.FGSM(eps=0.2), "again": attacks.FGSM(eps=0.01)}
    monkeypatch.setitem(suites._SUITES, name, lambda eps, eps_l2, jit: two)
    report = evaluation.evaluate(model, X, Y, attacks=name)
    assert report.config["drop_broken"] is sparing
    attacked = (report.records["again"].prediction >= 0).sum()
    assert attacked == (report.correct("fgsm").sum() if sparing else len(X))


@pytest.mark.parametrize("only_first, only_second", [(0, 0), (1, 0), (10, 1), (7, 7), (60, 30)])
def test_mcnemar_is_the_binomial_test_of_the_discordant(only_first, only_second):
    first = np.repeat([True, False, True, False], [only_first, only_second, 11, 5])
    second = np.repeat([False, True, True, False], [only_first, only_second, 11, 5])
    n = only_first + only_second
    # By summing the tails: twice the smaller, at most 1.
    tail = scipy.stats.binom.cdf(min(only_first, only_second), n, 0.5) if n else 1.0
    expected = min(1.0, 2 * tail)
    assert evaluation.mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
    assert evaluation.mcnemar(second, first) == evaluation.mcnemar(first, second)


def test_the_interval_of_a_paired_difference_is_that_of_the_literature():
    # Fagerland, Lydersen and Laake (2014), airway hyper-responsiveness of 21 children.
    before = np.repeat([True, True, False, False], [1, 1, 7, 12])
    after = np.repeat([True, False, True, False], [1, 1, 7, 12])
    found = evaluation.paired_difference(before, after)
    assert found.value == pytest.approx(-6 / 21)
    assert (found.low, found.high) == pytest.approx((-0.508, -0.013), abs=5e-4)
    mirrored = evaluation.paired_difference(after, before)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("shares", [(0.1, 0.02), (0.03, 0.03), (0.3, 0.1)])
def test_a_paired_difference_is_covered_as_often_as_it_says(shares):
    draws = np.random.default_rng(0).multinomial(100, [*shares, 1 - sum(shares)], 400)
    covered = 0
    for one, other, same in draws:
        first = np.repeat([True, False, True], [one, other, same])
        second = np.repeat([False, True, True], [one, other, same])
        found = evaluation.paired_difference(first, second)
        covered += found.low <= shares[0] - shares[1] <= found.high
    assert scipy.stats.binomtest(covered, 400, 0.95).pvalue > 1e-3 or covered > 380


def test_a_paired_difference_of_nothing_is_refused():
    with pytest.raises(ValueError, match="one sample or more"):
        evaluation.paired_difference(np.zeros(0, bool), np.zeros(0, bool))
    with pytest.raises(ValueError, match="`confidence` must lie in"):
        evaluation.paired_difference([True], [False], confidence=95)
