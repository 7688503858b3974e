"""One experiment: data, network, training that can be cut off anywhere, its robustness table."""

import contextlib

import keras
import tensorflow as tf

from keras_mpdsgr import analysis, attacks, data, evaluation, keras_internals
from keras_mpdsgr.errors import setup_errors, writing
from keras_mpdsgr.experiments import checkpoints, distribution, networks, tables
from keras_mpdsgr.experiments.config import AttackConfig
from keras_mpdsgr.experiments.monitors import EpochRecord, HealthCheck
from keras_mpdsgr.experiments.progress import AttackProgress, TrainingProgress, make_console
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.run_folder import EpochTable, RunFolder
from keras_mpdsgr.experiments.settings import command_line
from keras_mpdsgr.files import replacing

_PROBE_IMAGES = 256
_TEST_BATCH = 100
# How far a run has got.
_UNTRAINED, _TRAINED, _DONE = range(3)


def train(config, attack=True, until_epoch=None, verbose=True):
    """As `experiments.train`, which says what the arguments are."""
    with setup_errors():
        networks.check(config)
        if until_epoch is not None and not 1 <= until_epoch <= config.epochs:
            raise ValueError(
                f"`until_epoch` must be between 1 and {config.epochs}. Received: {until_epoch!r}."
            )
    place = distribution.prepared(config.distribute, config.replicas, config.worker_timeout)
    with place as place, _keras_settings(config):
        place.check_batch_size(config.batch_size)
        return _train_at(place, config, attack, until_epoch, verbose)


def _train_at(place, config, attack, until_epoch, verbose):
    console = make_console(quiet=not (place.is_chief and verbose))
    with setup_errors():
        defense = networks.make_defense(config)
        images = data.load(
            config.dataset,
            config.data_dir,
            config.limit_train,
            config.limit_test,
            config.image_size,
        )
        steps = data.steps_per_epoch(len(images.x_train), config.batch_size)
    with setup_errors(), place.scope():
        model = networks.build(config, images, defense)
    with _run_folder(place, config) as (folder, stage):
        run = Run(folder.path)
        if stage == _UNTRAINED:
            until = until_epoch or config.epochs
            _fit(model, config, images, folder, steps, defense, console, place, until)
        place.leave()
        if not place.is_chief:
            return run
        if not folder.model_path.is_file():
            console.print(f"stopped after epoch {until_epoch} of {config.epochs}: {folder.path}")
            return run
        if stage == _DONE:
            console.print(f"{folder.path} is done already. Its table:")
            _print_kept(console, run)
            return run
        if stage == _TRAINED or place.distributed:
            model = run.model()
        with writing(folder.results):
            if attack:
                _evaluate(model, config, images, folder, console)
            folder.mark_done()
        console.print(f"model, curves and results: {folder.path}")
    return run


@contextlib.contextmanager
def _keras_settings(config):
    """Seed, determinism and compute type of a configuration; the compute type is put back."""
    policy = keras.mixed_precision.dtype_policy()
    prepare_keras(config.seed, config.deterministic, config.mixed_precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


@contextlib.contextmanager
def _run_folder(place, config):
    """The run's folder, and how far the run has got by what the chief sees there."""
    if place.is_chief:
        with RunFolder.for_training(config) as folder:
            yield folder, place.told_by_chief(_stage(folder))
    else:
        stage = place.told_by_chief(_UNTRAINED)  # by then the chief has made the folder
        yield RunFolder.of_chief(config), stage


def _stage(folder):
    if folder.done:
        return _DONE
    return _TRAINED if folder.model_path.is_file() else _UNTRAINED


def _print_kept(console, run):
    path = run.results / "final.json"
    if path.is_file():
        with setup_errors():
            tables.print_results(console, evaluation.Report.from_json(path))
        _print_bound(console, run.path)
    else:
        console.print("there is none: it was trained to be attacked by another program.")


def _fit(model, config, images, folder, steps, defense, console, place, until):
    total = config.epochs * steps
    with place.scope():
        trained = networks.compile_for_training(model, config, total, defense)
        with writing(folder.path):
            done = checkpoints.restore(trained, folder.checkpoints, console.print)
    place.check_same(done, f"the epochs done by {folder.checkpoints}")
    if done:
        console.print(f"going on after epoch {done} of {folder.path}")
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
    tested = data.evaluation_batches(images.x_test, images.y_test, _TEST_BATCH)
    progress = TrainingProgress(console, config.epochs, done, steps)
    console.print(
        f"{config.model} on {images.name}: {len(images.x_train)} training images, "
        f"{len(images.x_test)} test images, {model.count_params():,} parameters, {steps} steps an "
        f"epoch{place.described}; run folder {folder.path}",
        soft_wrap=True,
    )
    with place.saving_to(folder) as (checkpoint_folder, model_path):
        callbacks = [
            *defense.callbacks(total, round(config.eta_warmup * total)),
            checkpoints.EpochSeeds(config.seed),
            *(_records(model, images, folder, done, console) if place.is_chief else []),
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


def _evaluate(model, config, images, folder, console):
    limit = min(config.eval_limit, len(images.x_test))
    x = data.to_pixels(images.x_test[:limit])
    report = evaluation.evaluate(
        model,
        x,
        images.y_test[:limit],
        attacks=final_attacks(config.eval_eps, evaluation.eot_draws(model, x), config.neuron),
        eps=config.eval_eps,
        batch_size=config.eval_batch_size,
        seed=config.seed,
        drop_broken=False,
        journal=folder.results / "final.csv",
        progress=AttackProgress(console),
    )
    report.config |= {"dataset": images.name, "part": images.part}
    report.command = command_line(folder.command())
    report.to_json(folder.results / "final.json")
    tables.print_results(console, report)
    _print_bound(console, folder.path)


def _print_bound(console, run_dir):
    worst = AttackConfig(run_dir=str(run_dir), suite="strongest", checks=True)
    console.print(
        f"These few attacks give an upper bound. The worst case: {command_line(worst.command())}",
        soft_wrap=True,
    )


def final_attacks(eps, eot=1, neuron="lif"):
    """The attacks that every training ends with."""
    backward = {"lif": "assg", "relu": "bptt"}[neuron]
    return {
        "fgsm": attacks.FGSM(eps=eps, eot=eot),
        "pgd": attacks.PGD(eps=eps, eot=eot),
        # The strongest known here, without which the others would mislead.
        "sapgd50": attacks.SAPGD(eps=eps, steps=50, gradient=backward, eot=eot),
    }


def prepare_keras(seed, deterministic=False, mixed_precision="off"):
    """Sets seed, determinism and the layers' compute type."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        keras_internals.switch_off_grappler()
    if mixed_precision != "off":
        keras.mixed_precision.set_global_policy(f"mixed_{mixed_precision}")
