"""What an evaluation refuses, leaves out or adapts before its first attack, and what it says."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, attacks, evaluation, layers
from keras_mpdsgr.evaluation.admission import admit
from keras_mpdsgr.evaluation.records import label_of

GENERATOR = np.random.default_rng(0)
X = GENERATOR.random((8, 4)).astype("float32")
Y = np.arange(8) % 2


def plain_model(shape=(4,), classes=2):
    model = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )
    kernel = GENERATOR.normal(size=model.layers[-1].kernel.shape)
    model.layers[-1].set_weights([kernel, np.zeros(classes)])
    return model


def spiking_model():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.DirectEncoder(2),
            layers.FoldTime(keras.layers.Dense(4)),
            LIFLayer(),
            layers.FoldTime(keras.layers.Dense(2)),
            layers.TemporalMean(),
        ]
    )


TARGETED = attacks.PGD(targeted=True, steps=2)


@pytest.mark.parametrize(
    "attack",
    [
        TARGETED,
        attacks.CarliniWagnerL2(targeted=True),
        attacks.Ensemble([TARGETED, TARGETED]),
        attacks.Transfer(plain_model(), TARGETED),
        attacks.Ensemble([attacks.Transfer(plain_model(), TARGETED)]),
    ],
    ids=["pgd", "cw", "ensemble", "transfer", "nested"],
)
def test_a_targeted_attack_is_refused_in_one_line_that_names_the_way(attack):
    with pytest.raises(ValueError, match="`attacks` must be untargeted.*MultiTargeted") as error:
        evaluation.evaluate(plain_model(), X, Y, {"a": attack})
    assert "\n" not in str(error.value)


def test_a_targeted_attack_towards_every_wrong_class_is_admitted():
    attack = attacks.MultiTargeted(TARGETED)
    model = plain_model()
    report = evaluation.evaluate(model, X, Y, {"a": attack}, drop_broken=False)
    assert report.accuracy["a"] <= report.clean
    assert attacks.Ensemble([attack]).targeted is False


def test_attacks_made_of_others_have_the_radius_of_their_members():
    pgd = attacks.PGD(norm="l2", eps=0.5, steps=2, step_size=0.2)
    assert attacks.Ensemble([pgd, attacks.APGD(norm="l2", eps=0.5)]).eps == 0.5
    assert attacks.MultiTargeted(pgd.replace(targeted=True)).eps == 0.5
    assert attacks.Transfer(plain_model(), pgd).eps == 0.5
    assert attacks.Ensemble([attacks.CarliniWagnerL2()]).eps is None


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_ensemble_of_unequal_radii_is_refused(norm):
    with pytest.raises(ValueError, match="one radius. Received: eps 0.1, 0.2"):
        attacks.Ensemble([attacks.APGD(norm=norm, eps=eps) for eps in (0.1, 0.2)])


class Leaves(attacks.PGD):
    """Moves farther than it says."""

    def perturb(self, target, x, y, draws):
        return tf.clip_by_value(x + 0.9, 0, 1)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one: attacks.Ensemble([one]),
        lambda one: attacks.MultiTargeted(one.replace(targeted=True)),
        lambda one: attacks.Transfer(plain_model(), one),
    ],
    ids=["ensemble", "multi-targeted", "transfer"],
)
def test_an_attack_made_of_others_does_not_leave_its_ball_unseen(wrap):
    attack = wrap(Leaves(norm="l2", eps=0.5, step_size=0.1))
    with pytest.raises(RuntimeError, match="left its ball"):
        evaluation.evaluate(plain_model(), X, Y, {"a": attack}, drop_broken=False)


def test_an_attack_without_a_bound_counts_in_no_worst_case(tmp_path):
    model = plain_model()
    cw = attacks.CarliniWagnerL2(steps=30, binary_search_steps=1, constant=10.0)
    y = model.predict(X, verbose=0).argmax(axis=1)
    free = evaluation.evaluate(model, X, y, {"cw": cw}, drop_broken=True)
    assert free.accuracy["cw"] < 1 and free.worst_case_l2 is None
    assert free.strongest("l2") is None
    assert all(row["broken_by"] == "" for row in free.per_sample)
    assert "Without a bound, and so in no worst case: cw." in free.to_markdown()
    both = evaluation.evaluate(
        model, X, y, {"cw": cw, "near": attacks.PGD(norm="l2", eps=1e-6, step_size=1e-6)}
    )
    assert both.worst_case_l2 == 1.0
    both.to_json(tmp_path / "r.json")
    assert evaluation.Report.from_json(tmp_path / "r.json") == both
    # An older report counted it: it is read, and counts it no longer.
    held = both.to_dict() | {"format": 2, "worst_case_l2": 0.25}
    del held["attacks"]["cw"]["bounded"], held["left_out"], held["self_check"], held["adapted"]
    (tmp_path / "old.json").write_text(json.dumps(held))
    assert evaluation.Report.from_json(tmp_path / "old.json").worst_case_l2 == 1.0


@pytest.mark.parametrize("shape", [(4,), (3, 4, 4, 2)], ids=["vectors", "events"])
def test_an_attack_that_cannot_take_the_images_is_left_out_before_the_first_runs(
    shape, tmp_path, listener
):
    x = GENERATOR.random((4, *shape)).astype("float32")
    suite = {"fgsm": attacks.FGSM(), "square": attacks.Square(steps=3)}
    with pytest.warns(UserWarning, match="square is left out: Square needs images"):
        report = evaluation.evaluate(plain_model(shape), x, Y[:4], suite, progress=listener)
    assert list(report.records) == ["fgsm"]
    assert [name for name, _ in listener.heard if isinstance(name, str)] == ["fgsm"]
    assert "Square needs images" in report.left_out["square"]
    assert "square is left out: Square needs images" in report.to_markdown()
    report.to_json(tmp_path / "r.json")
    assert evaluation.Report.from_json(tmp_path / "r.json").left_out == report.left_out
    del suite["fgsm"]
    with pytest.raises(ValueError, match="must hold one that can take the model. .*Square needs"):
        evaluation.evaluate(plain_model(shape), x, Y[:4], suite)


def test_checks_on_vectors_search_by_random_signs_alone():
    checks = evaluation.Obfuscation(plain_model(), X, Y, steps=2, queries=2)
    assert "random" in checks.gradient_beats_search().figures


def test_a_transfer_whose_substitute_takes_other_images_is_left_out():
    suite = {"t": attacks.Transfer(plain_model((5,)), attacks.FGSM()), "f": attacks.FGSM()}
    with pytest.warns(UserWarning, match="t is left out: its substitute cannot take the images"):
        assert list(evaluation.evaluate(plain_model(), X, Y, suite).records) == ["f"]


def test_a_suite_for_spiking_networks_goes_along_the_gradient_of_another():
    with pytest.warns(UserWarning):
        suite, left_out, adapted = admit(
            {
                "pgd50": attacks.PGD(steps=50, step_size=0.01, keep="first"),
                "sapgd": attacks.SAPGD(),
                "hart": attacks.HART(),
                "pdsg": attacks.PGD(steps=50, step_size=0.01, keep="first", gradient="pdsg"),
                "backwards": attacks.Ensemble(
                    [
                        attacks.PGD(steps=50, step_size=0.01, keep="first", **backward)
                        for backward in ({"surrogate": "arctan"}, {"gradient": "bptr"})
                    ]
                ),
                "both": attacks.Ensemble([attacks.FGSM(gradient="bptr"), attacks.SAPGD()]),
            },
            plain_model(),
            X,
        )
    assert list(suite) == ["pgd50", "sapgd", "both"]
    assert suite["sapgd"].gradient == "bptt"
    assert [one.gradient for one in suite["both"].members] == ["bptt", "bptt"]
    assert set(adapted) == {"sapgd", "both"}
    assert left_out["pdsg"] == left_out["backwards"] == "without spiking neurons it is pgd50."
    assert "no spiking neurons" in left_out["hart"]


@pytest.mark.parametrize("name", ["paper", "strongest"])
def test_every_suite_can_be_admitted_to_a_model_without_spiking_neurons(name):
    chosen = evaluation.suite(name, eps=8 / 255)
    with pytest.warns(UserWarning):
        suite, left_out, _ = admit(chosen, plain_model(), X)
    assert suite and not any(attack.needs_spikes for attack in suite.values())
    assert set(suite) | set(left_out) == set(chosen)


def test_attacks_on_a_spiking_network_stay_as_they_are(recwarn):
    chosen = {"sapgd": attacks.SAPGD(), "hart": attacks.HART()}
    suite, left_out, adapted = admit(chosen, spiking_model(), X)
    assert (suite, left_out, adapted) == (chosen, {}, {})
    assert not [one for one in recwarn if one.category is UserWarning]


def constant_model():
    model = plain_model()
    model.layers[-1].set_weights([np.zeros((4, 2)), np.float32([0, 1])])
    return model


def test_a_model_of_one_answer_has_no_verdict_and_every_table_says_so():
    model = constant_model()
    report = evaluation.evaluate(model, X, Y, ["fgsm", "pgd"])
    assert report.worst_case == 0.5 and report.only_class == 1
    assert "answers class 1 whatever the image" in report.to_markdown()
    assert report.verdict.startswith("No verdict")
    check = evaluation.Obfuscation(model, X, Y).answers_more_than_one_class()
    assert check.status == "fail"
    found = evaluation.verdict({"answers_more_than_one_class": check})
    assert found.startswith("No verdict: the model answers class 1")
    of_one_class = evaluation.Obfuscation(model, X[:4], np.ones(4, int))
    assert of_one_class.answers_more_than_one_class().status == "not run"
    other = evaluation.Obfuscation(plain_model(), X, Y).answers_more_than_one_class()
    assert (other.status, other.figures["classes"]) == ("pass", 2)
    assert evaluation.evaluate(plain_model(), X, Y, {}).only_class is None


@pytest.mark.parametrize(
    "attack, label",
    [
        (attacks.PGD(eps=0.1), "pgd"),
        (attacks.PGD(steps=50, keep="first"), "pgd keep='first' steps=50"),
        (attacks.SAPGD(steps=50), "sapgd steps=50"),
        (attacks.SAPGD(gradient="bptt"), "sapgd gradient='bptt'"),
        (attacks.CarliniWagnerL2(eps=0.5), "carliniwagnerl2"),
    ],
)
def test_a_label_says_what_differs_from_the_attacks_default(attack, label):
    assert label_of(attack) == label
    assert list(evaluation.suite([attack], eps=0.1)) == [label]


def test_padding_is_no_gradient_call():
    x, y = np.tile(X, (6, 1))[:45], np.tile(Y, 6)[:45]
    suite = {
        "fgsm": attacks.FGSM(),
        "both": attacks.Ensemble([attacks.FGSM(eps=0.0), attacks.BIM(eps=0.0, steps=2)]),
        "towards": attacks.MultiTargeted(attacks.BIM(eps=0.0, steps=2, targeted=True)),
        "transfer": attacks.Transfer(plain_model(), attacks.BIM(steps=3)),
    }
    model = plain_model()
    y = model.predict(x, verbose=0).argmax(axis=1)
    report = evaluation.evaluate(model, x, y, suite, batch_size=40, drop_broken=False)
    found = {name: record.gradient_calls / 45 for name, record in report.records.items()}
    assert found == {"fgsm": 1, "both": 3, "towards": 2, "transfer": 3}


def test_transfers_from_other_substitutes_are_not_compared():
    one, other = plain_model(), plain_model()
    other._name = one.name
    target = plain_model()

    def report(substitute):
        suite = {"t": attacks.Transfer(substitute, attacks.FGSM())}
        return evaluation.evaluate(target, X, Y, suite)

    assert set(report(one).compare(report(one))) == {"clean", "t", "worst_case"}
    assert "settings" in report(one).compare(report(other)).left_out["t"]


def test_a_backward_that_depends_on_the_batch_is_compared_at_one_batch_size_only():
    model = spiking_model()

    def report(size):
        suite = {"pdsg": attacks.FGSM(gradient="pdsg"), "fgsm": attacks.FGSM()}
        return evaluation.evaluate(model, X, Y, suite, batch_size=size, drop_broken=False)

    found = report(4).compare(report(8))
    assert set(found) == {"clean", "fgsm"}
    assert set(found.left_out) == {"pdsg", "worst_case"}


@pytest.mark.parametrize(("classes", "told"), [(2, ["dlr", "t"]), (3, ["t"]), (4, [])])
def test_it_is_said_where_too_few_classes_leave_no_ratio(classes, told):
    towards = attacks.APGD(steps=2, loss="dlr", targeted=True)
    chosen = {
        "ce": attacks.APGD(steps=2),
        "dlr": attacks.APGD(steps=2, loss="dlr"),
        "t": attacks.MultiTargeted(towards),
    }
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        admitted, left_out, adapted = admit(chosen, plain_model(classes=classes), X)
    assert (list(admitted), left_out) == (["ce", "dlr", "t"], {})
    assert list(adapted) == told
    if told:
        needed = "4 classes and there are"
        assert adapted["t"] == f"by the difference of logits, as DLR needs {needed} {classes}."
