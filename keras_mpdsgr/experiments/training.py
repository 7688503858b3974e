"""One experiment: data, network, training that can be cut off anywhere, its robustness table."""

import contextlib

import keras
import tensorflow as tf

from keras_mpdsgr import analysis, attacks, data, evaluation, models
from keras_mpdsgr.errors import SetupError, setup_errors, writing
from keras_mpdsgr.experiments import checkpoints, distribution, networks, tables
from keras_mpdsgr.experiments.monitors import EpochRecord, HealthCheck
from keras_mpdsgr.experiments.progress import AttackProgress, TrainingProgress, make_console
from keras_mpdsgr.experiments.run_folder import EpochTable, RunFolder
from keras_mpdsgr.files import replacing

_PROBE_IMAGES = 256
_TEST_BATCH = 100
# How far a run has got.
_UNTRAINED, _TRAINED, _DONE = range(3)


def train(settings, attack=True):
    """Trains as the flags say, or goes on, and evaluates; prints the table.

    Args:
        settings: The flags' values, by name.
        attack: Whether the model is attacked at the end; without, there is no table.
    """
    check_combinations(settings)
    with setup_errors():
        models.get(settings["model"])
        networks.make_surrogate(settings)
    with distribution.prepared(settings) as place:
        place.check_batch_size(settings["batch_size"])
        _train_at(place, settings, attack)


def _train_at(place, settings, attack):
    console = make_console(quiet=not place.is_chief)
    with setup_errors():
        defense = networks.make_defense(settings)
        defense.objective(networks.make_adversary(settings))  # refuses what does not go together
        images = data.load(
            settings["dataset"],
            settings["data_dir"],
            settings["limit_train"],
            settings["limit_test"],
            settings.get("image_size"),
        )
        steps = data.steps_per_epoch(len(images.x_train), settings["batch_size"])
    prepare_keras(settings)
    with setup_errors(), place.scope():
        model = networks.build(settings, images, defense)
    with _run_folder(place, settings) as (folder, stage):
        if stage == _UNTRAINED:
            _fit(model, settings, images, folder, steps, defense, console, place)
        place.part()
        if not place.is_chief:
            return
        if stage == _DONE:
            console.print(f"{folder.path} is done already. Its table:")
            _print_kept(console, folder)
            return
        if stage == _TRAINED or place.distributed:
            with setup_errors():
                model = models.load(folder.model_path)
        with writing(folder.results):
            if attack:
                _evaluate(model, settings, images, folder, console)
            folder.mark_done()
        console.print(f"model, curves and results: {folder.path}")


@contextlib.contextmanager
def _run_folder(place, settings):
    """The run's folder, and how far the run has got by what the chief sees there."""
    if place.is_chief:
        with RunFolder.for_training(settings) as folder:
            yield folder, place.told_by_chief(_stage(folder))
    else:
        stage = place.told_by_chief(_UNTRAINED)  # by then the chief has made the folder
        yield RunFolder.of_chief(settings), stage


def _stage(folder):
    if folder.done:
        return _DONE
    return _TRAINED if folder.model_path.is_file() else _UNTRAINED


def _print_kept(console, folder):
    path = folder.results / "final.json"
    if path.is_file():
        tables.print_results(console, evaluation.Report.from_json(path))
    else:
        console.print("there is none: it was trained to be attacked by another program.")


def _fit(model, settings, images, folder, steps, defense, console, place):
    epochs = settings["epochs"]
    with place.scope():
        trained = networks.compile_for_training(model, settings, epochs * steps, defense)
        with writing(folder.path):
            done = checkpoints.restore(trained, folder.checkpoints, console.print)
    place.check_same(done, f"the epochs done by {folder.checkpoints}")
    if done:
        console.print(f"going on after epoch {done} of {folder.path}")
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
    tested = data.evaluation_batches(images.x_test, images.y_test, _TEST_BATCH)
    progress = TrainingProgress(console, epochs, done, steps)
    console.print(
        f"{settings['model']} on {images.name}: {len(images.x_train)} training images, "
        f"{len(images.x_test)} test images, {model.count_params():,} parameters, {steps} steps an "
        f"epoch{place.described}; run folder {folder.path}",
        soft_wrap=True,
    )
    with place.saving_to(folder) as (checkpoint_folder, model_path):
        callbacks = [
            *defense.callbacks(epochs * steps, round(settings["eta_warmup"] * epochs * steps)),
            checkpoints.EpochSeeds(settings["seed"]),
            *(_records(model, images, folder, done, console) if place.is_chief else []),
            checkpoints.Checkpoint(checkpoint_folder),
            *place.callbacks(),
            progress,
        ]
        try:
            with writing(folder.path), networks.jit_scope(settings):
                trained.fit(
                    place.shared(batches),
                    epochs=epochs,
                    initial_epoch=done,
                    steps_per_epoch=steps,
                    shuffle=False,
                    validation_data=place.shared(tested),
                    verbose=0,
                    callbacks=callbacks,
                )
        finally:
            progress.stop()
        with writing(folder.path), replacing(model_path) as beside:
            model.save(beside)


def _records(model, images, folder, done, console):
    """The callbacks that write down each epoch and warn of a dead network."""
    with writing(folder.path):
        for table in (folder.metrics_path, folder.probe_path):
            EpochTable(table).cut(done)
    probed = data.to_pixels(images.x_train[:_PROBE_IMAGES])
    probe = analysis.PotentialProbe(model, probed, images.y_train[:_PROBE_IMAGES])
    record = EpochRecord(folder, probe)
    return [record, HealthCheck(record, images.num_classes, console.print)]


def _evaluate(model, settings, images, folder, console):
    limit = min(settings["eval_limit"], len(images.x_test))
    x = data.to_pixels(images.x_test[:limit])
    report = evaluation.evaluate(
        model,
        x,
        images.y_test[:limit],
        attacks=final_attacks(settings["eval_eps"], evaluation.eot_draws(model, x)),
        eps=settings["eval_eps"],
        batch_size=settings["eval_batch_size"],
        seed=settings["seed"],
        drop_broken=False,
        journal=folder.results / "final.csv",
        progress=AttackProgress(console),
    )
    report.config |= {"dataset": images.name, "part": images.part}
    report.to_json(folder.results / "final.json")
    tables.print_results(console, report)


def final_attacks(eps, eot=1):
    """The attacks that every training ends with."""
    return {
        "fgsm": attacks.FGSM(eps=eps, eot=eot),
        "pgd": attacks.PGD(eps=eps, eot=eot),
        # The strongest known here, without which the others would mislead.
        "sapgd": attacks.SAPGD(eps=eps, steps=50, eot=eot),
    }


def prepare_keras(settings):
    """Sets seed, determinism and the layers' compute type."""
    keras.utils.set_random_seed(settings["seed"])
    if settings["deterministic"]:
        tf.config.experimental.enable_op_determinism()
        # Past an estimated 205 MB Grappler has a sum of three or more tensors added up in the order
        # in which they arrive, op determinism or not. It takes no switch for this pass alone.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if settings["mixed_precision"] != "off":
        keras.mixed_precision.set_global_policy(f"mixed_{settings['mixed_precision']}")


def check_combinations(settings):
    """Raises a SetupError for flags that exclude each other."""
    if settings["jit"] == "on" and settings["deterministic"]:
        raise SetupError(
            "--jit on and --deterministic do not go together: Keras drops XLA where ops must be "
            "deterministic. Leave one of them out."
        )
    distribution.check_flags(settings)
