"""The settings of robust training: what they make, and that a broken run ends as a whole one."""

import csv
import json

import keras
import numpy as np
import pytest
import scipy.special

from keras_mpdsgr import LIFLayer, TDBatchNormalization, defenses, experiments, layers, models
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import ExperimentConfig, checkpoints, networks
from keras_mpdsgr.experiments.run_folder import RunFolder

X = np.random.default_rng(0).uniform(size=(24, 6)).astype("float32")
Y = np.arange(24) % 3
EPOCHS, STEPS = 3, 3
EVERYTHING = {
    "adversarial_training": True,
    "adversarial_method": "n_fgsm",
    "adversarial_eps": 8 / 255,
    "adversarial_gradient": "assg",
    "adversarial_warmup": 0.5,
    "awp": 0.01,
    "ema": 0.9,
    "label_smoothing": 0.1,
    "schedule": "cyclic",
    "clip_norm": 1.0,
}


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    hidden = TDBatchNormalization()(layers.DirectEncoder(2)(keras.layers.Dense(8)(image)))
    spikes = LIFLayer(eta=0.1)(hidden)
    return models.SpikingModel(image, keras.layers.Dense(3)(layers.TemporalMean()(spikes)))


def trained_by(config):
    model = network()
    defense = networks.make_defense(config)
    return networks.compile_for_training(model, config, EPOCHS * STEPS, defense)


def fit(model, epochs=EPOCHS, callbacks=(), **options):
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, "epochs": epochs, **options}
    seeds = checkpoints.EpochSeeds(7)
    return model.fit(X, Y, callbacks=[seeds, *callbacks], **options).history


def test_a_run_with_everything_on_that_is_broken_off_ends_with_the_same_bits(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        config = ExperimentConfig(**EVERYTHING)
        whole = trained_by(config)
        losses = fit(whole)["loss"]
        fit(trained_by(config), epochs=1, callbacks=[checkpoints.Checkpoint(tmp_path)])
        resumed = trained_by(config)
        assert checkpoints.restore(resumed, tmp_path, print) == 1
        assert fit(resumed, initial_epoch=1)["loss"] == losses[1:]
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(losses).all()
    assert whole.average is not None
    for ours, theirs in ((resumed, whole), (resumed.optimizer, whole.optimizer)):
        for one, other in zip(ours.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=one.path)


def test_everything_trains_the_same_under_xla():
    # Without random starts, which XLA draws otherwise.
    given = {**EVERYTHING, "adversarial_method": "pgd", "adversarial_steps": 1}

    def made(jit):
        config = ExperimentConfig(**{**given, "adversarial_gradient": None, "jit": jit})
        model = trained_by(config)
        model.objective.adversary.random_start = False
        return model

    plain, compiled = made("off"), made("on")
    assert compiled.jit_compile and not plain.jit_compile
    assert fit(compiled, epochs=1)["loss"] == pytest.approx(fit(plain, epochs=1)["loss"], rel=1e-4)
    with plain.average.applied(), compiled.average.applied():
        for one, other in zip(compiled.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_step_is_no_longer_than_the_norm_that_gradients_are_clipped_to():
    config = ExperimentConfig(
        clip_norm=1e-3, schedule="constant", momentum=0, learning_rate=0.5, defense="none", eta=0
    )
    model = trained_by(config)
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    fit(model, epochs=1, steps_per_epoch=1)
    moved = [w - b for w, b in zip(model.trainable_weights, before, strict=True)]
    length = np.sqrt(sum(np.sum(np.square(each, dtype="float64")) for each in moved))
    assert length == pytest.approx(0.5 * 1e-3, rel=1e-3)


def test_labels_are_smoothed_in_the_loss_and_not_in_the_metric():
    model = trained_by(ExperimentConfig(label_smoothing=0.2, weight_decay=0, eta=0))
    log_p = scipy.special.log_softmax(model.predict(X, verbose=0).astype("float64"), axis=1)
    entropy = -log_p[np.arange(24), Y].mean()
    loss, _, shown = model.evaluate(X, Y, verbose=0)
    assert shown == pytest.approx(entropy, rel=1e-5)
    assert loss == pytest.approx(0.8 * entropy - 0.2 * log_p.mean(), rel=1e-5)


def test_the_plain_recipe_is_what_it_was():
    model = trained_by(ExperimentConfig())
    assert type(model) is models.SpikingModel
    optimizer = model.optimizer.get_config()
    schedule = optimizer["learning_rate"]
    assert schedule["class_name"] == "CosineDecay"
    assert schedule["config"]["warmup_steps"] == 0 and optimizer["global_clipnorm"] is None
    assert type(model.loss) is keras.losses.SparseCategoricalCrossentropy


# Runs ---------------------------------------------------------------------------------------------


def test_the_model_of_a_run_is_that_of_the_average(shallow, tmp_path):
    config = ExperimentConfig(
        dataset="digits", width=0.02, timesteps=1, epochs=1, limit_train=64, limit_test=32,
        batch_size=8, ema=0.5, run_dir=tmp_path / "run",
    )  # fmt: skip
    run = experiments.train(config, attack=False, verbose=False)
    (row,) = csv.DictReader((run.path / "metrics.csv").open(newline=""))
    model = run.model()
    images = experiments.training.data.load("digits", limit_train=64, limit_test=32)
    x = images.x_test.astype("float32") / 255
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loss = model.evaluate(x, images.y_test, verbose=0)
    assert float(row["val_cross_entropy"]) == pytest.approx(loss, rel=1e-4)


def test_a_run_of_a_version_before_these_settings_is_gone_on_with(tmp_path):
    config = ExperimentConfig(adversarial_training=True, run_dir=tmp_path / "run")
    with RunFolder.for_training(config) as folder:
        content = json.loads(folder.config_path.read_text())
    for name in (*EVERYTHING, "warmup"):
        if name not in ("adversarial_training", "adversarial_eps"):
            del content["flags"][name]
    # As they were written down then.
    content["flags"] |= {"adversarial_steps": 2, "adversarial_step_size": 1 / 255}
    folder.config_path.write_text(json.dumps(content))
    with RunFolder.for_training(config):
        pass
    other = config.replace(adversarial_steps=3)
    with pytest.raises(SetupError, match="`adversarial_steps`=None, now 3"):
        RunFolder.for_training(other)


def test_the_values_of_a_methods_own_are_the_defaults():
    said = {"adversarial_steps": 2, "adversarial_step_size": 1 / 255}
    assert ExperimentConfig(**said) == ExperimentConfig()
    assert ExperimentConfig(**said).key() == "44136fa355"
    single = ExperimentConfig(adversarial_training=True, adversarial_method="fgsm_rs")
    adversary = networks.make_adversary(single)
    assert (adversary.steps, adversary.step_size) == (1, pytest.approx(2.5 / 255))
    assert networks.make_adversary(single.replace(adversarial_method="pgd")).steps == 2


@pytest.mark.parametrize(
    ("eps", "steps", "size"),
    [(2 / 255, None, 1 / 255), (8 / 255, None, 4 / 255), (8 / 255, 7, 2 / 255), (0.1, 1, 0.1)],
)
def test_steps_of_pgd_reach_the_bound_at_any_radius(eps, steps, size):
    settings = {"adversarial_eps": eps, "adversarial_steps": steps}
    config = ExperimentConfig(adversarial_training=True, **settings)
    adversary = networks.make_adversary(config)
    assert adversary.step_size == pytest.approx(size, rel=1e-12)
    assert adversary.steps * adversary.step_size >= eps
    # None and the value itself are one training, and 1/255 is that of the versions before.
    assert config.replace(adversarial_step_size=adversary.step_size) == config
    before = config.replace(adversarial_step_size=1 / 255)
    assert (before.key() == config.key()) == (size == 1 / 255)
    assert before.identity()["adversarial_step_size"] == (None if size == 1 / 255 else 1 / 255)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"adversarial_method": "fgsm_rs", "adversarial_steps": 2}, "`adversarial_steps` must be"),
        (
            {"adversarial_method": "n_fgsm", "adversarial_loss": "trades"},
            "`adversarial_method` must be",
        ),
        ({"adversarial_method": "n_fgsm", "defense": "dlif"}, "Defence 'dlif' perturbs"),
        ({"adversarial_gradient": "no_such"}, "`adversarial_gradient` must be one of"),
        ({"schedule": "cyclic", "warmup": 0.1}, "`warmup` cannot be combined"),
        ({"clip_norm": 1, "distribute": "mirrored"}, "`clip_norm` cannot be combined"),
        ({"awp": 0.01, "mixed_precision": "float16"}, "`awp` cannot be combined"),
        ({"ema": 1}, "`ema` must be a number >= 0 and < 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_one_line(given, said):
    with pytest.raises(ValueError) as caught:
        ExperimentConfig(adversarial_training=True, **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_defence_makes_goes_inside_the_perturbation():
    config = ExperimentConfig(awp=0.01, defense="sr", adversarial_training=True)
    objective = networks.make_objective(config, networks.make_defense(config))
    assert isinstance(objective, defenses.AdversarialWeightPerturbation)
    assert objective.adversary is objective.objective.adversary is not None
