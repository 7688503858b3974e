"""One experiment: data, network, training that can be cut off anywhere, its robustness table."""

import json

import keras
import tensorflow as tf

from keras_mpdsgr import attacks, data, evaluation, models, surrogates
from keras_mpdsgr.attacks.target import jit_compile
from keras_mpdsgr.defenses import EtaWarmup
from trainers import checkpoints, tables
from trainers.monitors import EpochRecord, HealthCheck
from trainers.program import RunError, UsageError, usage_errors
from trainers.progress import AttackProgress, TrainingProgress, make_console
from trainers.run_folder import EpochTable, RunFolder

_PROBE_IMAGES = 256
_TEST_BATCH = 100


def train(settings):
    """Trains as the flags say, or goes on, and evaluates; prints the table.

    Args:
        settings: The flags' values, by name.
    """
    console = make_console()
    _check_combinations(settings)
    with usage_errors():
        models.get(settings["model"])
        surrogates.get(settings["surrogate"], gamma=settings["gamma"])
        images = data.load(
            settings["dataset"],
            settings["data_dir"],
            settings["limit_train"],
            settings["limit_test"],
        )
        steps = data.steps_per_epoch(len(images.x_train), settings["batch_size"])
    _prepare_keras(settings)
    with usage_errors():
        model = build(settings, images)
    folder = RunFolder.for_training(settings)
    if folder.done:
        console.print(f"{folder.path} is done already. Its table:")
        tables.print_results(console, json.loads((folder.results / "final.json").read_text()))
        return
    if folder.model_path.is_file():
        model = models.load(folder.model_path)
    else:
        _fit(model, settings, images, folder, steps, console)
    _evaluate(model, settings, images, folder, console)
    folder.mark_done()
    console.print(f"model, curves and results: {folder.path}")


def build(settings, images):
    """The untrained network that the flags name, for these images."""
    keras.utils.set_random_seed(settings["seed"])
    return models.get(settings["model"])(
        images.input_shape,
        images.num_classes,
        timesteps=settings["timesteps"],
        width=settings["width"],
        coding=settings["coding"],
        surrogate=settings["surrogate"],
        gamma=settings["gamma"],
        tau=settings["tau"],
        eta=settings["eta"],
        mean=images.mean,
        std=images.std,
        reset=settings["reset"],
        detach_reset=settings["detach_reset"],
        omega_form=settings["omega_form"],
    )


def compile_for_training(model, settings, total_steps):
    """Compiles with the recipe of SNN-RAT: SGD, cosine to 0, L2 over every variable."""
    for variable in model.trainable_variables:
        # Half the weight decay, as the gradient of w^2 is 2 w.
        variable.regularizer = keras.regularizers.L2(settings["weight_decay"] / 2)
    schedule = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], total_steps)
    cross_entropy = {"from_logits": True}
    model.compile(
        optimizer=keras.optimizers.SGD(schedule, momentum=settings["momentum"]),
        loss=keras.losses.SparseCategoricalCrossentropy(**cross_entropy),
        metrics=[
            "accuracy",
            keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy", **cross_entropy),
        ],
        jit_compile=jit_compile(settings["jit"]),
    )


def _fit(model, settings, images, folder, steps, console):
    epochs = settings["epochs"]
    compile_for_training(model, settings, total_steps=epochs * steps)
    done = _restore(model, folder, console)
    batches = data.training_batches(
        images.x_train,
        images.y_train,
        settings["batch_size"],
        seed=settings["seed"],
        start_step=done * steps,
        total_steps=epochs * steps,
        augment=settings["augment"],
        flip=images.flip,
    )
    probed = data.to_pixels(images.x_train[:_PROBE_IMAGES])
    record = EpochRecord(
        folder, evaluation.PotentialProbe(model, probed, images.y_train[:_PROBE_IMAGES])
    )
    progress = TrainingProgress(console, epochs, done, steps)
    console.print(
        f"{settings['model']} on {images.name}: {len(images.x_train)} training images, "
        f"{len(images.x_test)} test images, {model.count_params():,} parameters, {steps} steps an "
        f"epoch; run folder {folder.path}",
        soft_wrap=True,
    )
    try:
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=done,
            steps_per_epoch=steps,
            shuffle=False,
            validation_data=data.evaluation_batches(images.x_test, images.y_test, _TEST_BATCH),
            verbose=0,
            callbacks=[
                EtaWarmup(round(settings["eta_warmup"] * epochs * steps)),
                checkpoints.EpochSeeds(settings["seed"]),
                record,
                HealthCheck(record, images.num_classes, console.print),
                checkpoints.Checkpoint(folder.checkpoints),
                progress,
            ],
        )
    except OSError as error:
        raise RunError(f"cannot write to the run folder {folder.path}: {error}") from error
    finally:
        progress.stop()
    beside = folder.path / "part-model.keras"
    model.save(beside)
    beside.replace(folder.model_path)


def _restore(model, folder, console):
    """Loads the newest checkpoint; returns the epochs done."""
    done, path = checkpoints.latest(folder.checkpoints)
    if path is not None:
        model.optimizer.build(model.trainable_variables)
        model.load_weights(path)
        console.print(f"going on after epoch {done} of {folder.path}")
    for table in (folder.metrics_path, folder.probe_path):
        EpochTable(table).cut(done)
    return done


def _evaluate(model, settings, images, folder, console):
    limit = min(settings["eval_limit"], len(images.x_test))
    report = evaluation.evaluate(
        model,
        data.to_pixels(images.x_test[:limit]),
        images.y_test[:limit],
        attacks=final_attacks(settings["eval_eps"]),
        eps=settings["eval_eps"],
        batch_size=settings["eval_batch_size"],
        seed=settings["seed"],
        drop_broken=False,
        progress=AttackProgress(console),
    )
    report.config["dataset"] = images.name
    report.to_json(folder.results / "final.json")
    tables.print_results(console, report.to_dict())


def final_attacks(eps):
    """The attacks that every training ends with."""
    return {
        "fgsm": attacks.FGSM(eps=eps),
        "pgd": attacks.PGD(eps=eps),
        # The strongest known here, without which the others would mislead.
        "sapgd": attacks.SAPGD(eps=eps, steps=50),
    }


def _prepare_keras(settings):
    keras.utils.set_random_seed(settings["seed"])
    if settings["deterministic"]:
        tf.config.experimental.enable_op_determinism()
        # Past an estimated 205 MB Grappler has a sum of three or more tensors added up in the order
        # in which they arrive, op determinism or not. It takes no switch for this pass alone.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if settings["mixed_precision"] != "off":
        keras.mixed_precision.set_global_policy(f"mixed_{settings['mixed_precision']}")


def _check_combinations(settings):
    if settings["jit"] == "on" and settings["deterministic"]:
        raise UsageError(
            "--jit on and --deterministic do not go together: Keras drops XLA where ops must be "
            "deterministic. Leave one of them out."
        )
