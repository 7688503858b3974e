"""One experiment: data, network, interruptible training, and its robustness table."""

import contextlib
import functools

import keras
import tensorflow as tf

from keras_mpdsgr import analysis, data, keras_internals
from keras_mpdsgr.errors import setup_errors, writing
from keras_mpdsgr.experiments import (
    checkpoints,
    distribution,
    final_table,
    imports,
    networks,
    precision,
    validation,
)
from keras_mpdsgr.experiments.epoch_table import EpochTable
from keras_mpdsgr.experiments.monitors import EpochRecord, HealthCheck
from keras_mpdsgr.experiments.progress import TrainingProgress, make_console
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.run_folder import RunFolder, default_path
from keras_mpdsgr.models.policies import policy_scope

_PROBE_IMAGES = 256
_TEST_BATCH = 100
# How far a run has got.
_UNTRAINED, _TRAINED, _DONE = range(3)


def train(config, attack=True, until_epoch=None, verbose=True):
    """As `experiments.train`, which says what the arguments are."""
    # Those that a resumed run was begun with, too.
    imports.load(config.imports)
    config, settled = precision.settled(config)
    Run(config.run_dir or default_path(config)).import_modules()
    config.check_names()
    with setup_errors():
        if until_epoch is not None and not 1 <= until_epoch <= config.epochs:
            raise ValueError(
                f"`until_epoch` must be between 1 and {config.epochs}. Received: {until_epoch!r}."
            )
    place = distribution.prepared(config.distribute, config.replicas, config.worker_timeout)
    with place as place:
        if settled is not None:
            config = precision.told_by_chief(place, config)
        with _keras_settings(config):
            place.check_batch_size(config.batch_size)
            return _train_at(place, config, settled, attack, until_epoch, verbose)


def _train_at(place, config, settled, attack, until_epoch, verbose):
    console = make_console(quiet=not (place.is_chief and verbose))
    if settled is not None:
        console.print(settled, soft_wrap=True)
    with setup_errors():
        if not Run(config.run_dir or default_path(config)).config_path.is_file():
            networks.refuse_unused(config, type(config)())
        defense = networks.make_defense(config)
        images = data.load(
            config.dataset,
            config.data_dir,
            config.limit_train,
            config.limit_test,
            config.image_size,
        )
        images, held_out = validation.held_out(images, config)
        steps = data.steps_per_epoch(len(images.x_train), config.batch_size)
    with setup_errors(), place.scope():
        model = networks.build(config, images, defense)
    asked = None if settled is None else precision.ASKED
    with _run_folder(place, config, asked) as (folder, stage):
        run = Run(folder.path)
        if stage == _UNTRAINED:
            until = until_epoch or config.epochs
            _fit(model, config, images, held_out, folder, steps, defense, console, place, until)
        place.leave()
        if not place.is_chief:
            return run
        if not folder.model_path.is_file():
            console.print(f"stopped after epoch {until_epoch} of {config.epochs}: {folder.path}")
            return run
        if stage == _DONE:
            console.print(f"{folder.path} is done already. Its table:")
            final_table.print_again(console, run)
            return run
        chosen = run.best_epoch()
        other = chosen is not None or config.ema or config.mixed_precision != "off"
        if stage == _TRAINED or place.distributed or other:
            model = run.model()
        with writing(folder.results):
            if attack:
                final_table.measure(model, config, images, folder, console)
            folder.mark_done()
        console.print(f"model, curves and results: {folder.path}")
    return run


@contextlib.contextmanager
def _keras_settings(config):
    """Seed, determinism and compute type of a configuration; the compute type is put back."""
    with policy_scope():
        prepare_keras(config.seed, config.deterministic, config.mixed_precision)
        yield


@contextlib.contextmanager
def _run_folder(place, config, asked):
    """The run's folder, and how far the run has got by what the chief sees there."""
    if place.is_chief:
        with RunFolder.for_training(config, asked=asked) as folder:
            yield folder, place.told_by_chief(_stage(folder))
    else:
        stage = place.told_by_chief(_UNTRAINED)  # by then the chief has made the folder
        yield RunFolder.of_chief(config), stage


def _stage(folder):
    if folder.done:
        return _DONE
    return _TRAINED if folder.model_path.is_file() else _UNTRAINED


def _fit(model, config, images, held_out, folder, steps, defense, console, place, until):
    total = config.epochs * steps
    with place.scope():
        trained = networks.compile_for_training(model, config, total, defense)
        with writing(folder.path):
            done = checkpoints.restore(trained, folder.checkpoints, console.print)
    place.check_same(done, f"the epochs done by {folder.checkpoints}")
    if done:
        console.print(f"resuming after epoch {done} of {folder.path}")
    batches = data.training_batches(
        images.x_train,
        images.y_train,
        config.batch_size,
        seed=config.seed,
        start_step=done * steps,
        total_steps=total,
        augment=config.augment,
        flip=images.flip,
    )
    watched = held_out or (images.x_test, images.y_test)
    tested = data.evaluation_batches(watched[0], watched[1], _TEST_BATCH)
    told = "test" if held_out is None else "validation"
    progress = TrainingProgress(console, config.epochs, done, steps, told)
    console.print(
        f"{config.model} on {images.name}: {len(images.x_train)} training images, "
        f"{'' if held_out is None else f'{len(held_out[0])} set apart, '}"
        f"{len(images.x_test)} test images, {model.count_params():,} parameters, {steps} steps an "
        f"epoch{place.described}; run folder {folder.path}",
        soft_wrap=True,
    )
    choosing = []
    if held_out is not None:
        choosing = [validation.callback(model, config, held_out, folder, done, console.print)]
    with place.saving_to(folder) as (checkpoint_folder, model_path):
        callbacks = [
            *defense.callbacks(total, round(config.eta_warmup * total)),
            checkpoints.EpochSeeds(config.seed),
            *choosing,
            *(_records(model, images, folder, done, console, config) if place.is_chief else []),
            checkpoints.Checkpoint(checkpoint_folder),
            *place.callbacks(),
            progress,
        ]
        try:
            with writing(folder.path), networks.jit_scope(config.jit):
                trained.fit(
                    place.shared(batches),
                    epochs=until,
                    initial_epoch=done,
                    steps_per_epoch=steps,
                    shuffle=False,
                    validation_data=place.shared(tested),
                    verbose=0,
                    callbacks=callbacks,
                )
        finally:
            progress.stop()
        if until == config.epochs:
            with writing(folder.path):
                if held_out is None:
                    checkpoints.save(trained, model_path)
                else:
                    checkpoints.save(trained, folder.last_model_path)
                    validation.copy_best(folder)


def _records(model, images, folder, done, console, config):
    """The callbacks that write down each epoch and warn of a dead network."""
    with writing(folder.path):
        for table in (folder.metrics_path, folder.probe_path):
            EpochTable(table).cut(done)
    probed = data.to_pixels(images.x_train[:_PROBE_IMAGES])
    probe = analysis.PotentialProbe(model, probed, images.y_train[:_PROBE_IMAGES])
    record = EpochRecord(folder, probe)
    say = functools.partial(console.print, soft_wrap=True)
    return [record, HealthCheck(record, images.num_classes, say, config.patience)]


def prepare_keras(seed, deterministic=False, mixed_precision="off"):
    """Sets seed, determinism and the layers' compute type."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        keras_internals.switch_off_grappler()
    if mixed_precision != "off":
        keras.mixed_precision.set_global_policy(f"mixed_{mixed_precision}")
