"""A search from its flags to its table."""

import functools
import hashlib
import json
import pathlib

import keras_tuner

from keras_mpdsgr import data, models, tuning
from keras_mpdsgr.errors import RunError, SetupError, setup_errors
from keras_mpdsgr.experiments import networks, training
from keras_mpdsgr.experiments.progress import make_console
from keras_mpdsgr.experiments.run_folder import RunFolder
from keras_mpdsgr.files import write_json
from trainers.tuning import results, workers
from trainers.tuning.show import SearchShow
from trainers.tuning.trials import TrialModel, keep_out
from trainers.tuning.tuner import SearchTuner, damaged, is_over, make_oracle


def tune(settings, wanted, max_trials=8, chief_address=None, worker_id=None):
    """Searches, or goes on with a search, and prints what was found.

    Args:
        settings: The training flags' values, by name.
        wanted: The search flags' values, by name.
        max_trials: Trials, at most.
        chief_address, worker_id: Of a search that several processes share; None otherwise.
    """
    role, address = workers.take_part(chief_address, worker_id)
    console = make_console()
    training.check_combinations(settings)
    if settings["distribute"] != "none":
        raise SetupError(
            "--distribute is for one training. Several processes share a search by --chief_address."
        )
    with setup_errors():
        space = _space(settings, wanted, console)
        images = _images(settings, wanted)
        objective = _objective(settings, wanted, images)
        say = functools.partial(console.print, soft_wrap=True, markup=False)
        trial = TrialModel(settings, images, space, objective, say)
        trial.build(keras_tuner.HyperParameters())  # refuses what no network can be made of
    if role == workers.WORKER:
        workers.wait_for_chief(address)
    with _folder(settings, wanted, role) as folder:
        show = SearchShow(console, max_trials, settings["epochs"], role == workers.ALONE)
        oracle = make_oracle(
            wanted["algorithm"],
            objective.tuner_objective,
            max_trials,
            settings["epochs"],
            space.dimensions,
            settings["seed"],
        )
        if role == workers.CHIEF:
            oracle.ended = show.ended
        tuner = SearchTuner(oracle, trial, folder.path, show)
        _greet(console, role, address, settings, images, objective, folder)
        if role != workers.CHIEF or not is_over(oracle):  # a chief would wait for workers
            tuner.search(verbose=0)
        if role == workers.WORKER:
            console.print("the chief has no more trials; it prints the results")
            return
        _finish(console, oracle, folder, settings, wanted, objective)


def _space(settings, wanted, console):
    models.get(settings["model"])
    for name in wanted["surrogates"] or [settings["surrogate"]]:
        networks.make_surrogate({**settings, "surrogate": name})
    space = tuning.SearchSpace(
        eta=wanted["eta_range"],
        gamma=wanted["gamma_range"],
        tau=wanted["tau_range"],
        surrogates=wanted["surrogates"] or (),
    )
    low, high = (networks.make_defense({**settings, "eta": value}) for value in space.eta)
    if space.eta[0] < space.eta[1] and low.get_config() == high.get_config():
        console.print(f"eta has no effect with --defense {settings['defense']}: not searched")
        space.eta = (space.eta[0],) * 2
    if not space.dimensions:
        raise SetupError("there is nothing to search: every range holds one value.")
    return space


def _images(settings, wanted):
    images = data.load(
        settings["dataset"],
        settings["data_dir"],
        settings["limit_train"],
        limit_test=1,
        image_size=settings["image_size"],
    )
    return keep_out(images, wanted["validation_share"], settings["seed"])


def _objective(settings, wanted, images):
    judged = slice(min(wanted["search_images"], len(images.x_test)))
    return tuning.RobustObjective(
        data.to_pixels(images.x_test[judged]),
        images.y_test[judged],
        score=wanted["objective"],
        clean_weight=wanted["clean_weight"],
        clean_floor=wanted["clean_floor"],
        eps=settings["eval_eps"],
        steps=wanted["search_steps"],
        batch_size=settings["eval_batch_size"],
        seed=settings["seed"],
        jit=settings["jit"],
    )


def _folder(settings, wanted, role):
    asked = {**settings, **wanted}
    # Searched, so that their flags say nothing.
    for name in ("eta", "gamma"):
        del asked[name]
    if not asked["run_dir"]:
        asked["run_dir"] = str(_default_path(asked))
    if role == workers.WORKER and not pathlib.Path(asked["run_dir"], "config.json").is_file():
        # On a machine that does not see the chief's folder, only KerasTuner writes here.
        folder = RunFolder(asked["run_dir"])
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder
    folder = RunFolder.for_training(asked, lock=role != workers.WORKER)
    broken = damaged(folder.path)
    if broken is not None:
        raise SetupError(f"{broken} is damaged. Give another --run_dir.")
    return folder


def _default_path(asked):
    told = {**asked, "eval_batch_size": None}
    if asked["dataset"] != "folder":
        told["data_dir"] = None
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    name = "tune-{dataset}-{model}-{algorithm}-{objective}-seed{seed}".format(**asked)
    return pathlib.Path("runs") / f"{name}-{digest[:8]}"


def _greet(console, role, address, settings, images, objective, folder):
    if role != workers.ALONE:
        host, port = address
        verb = "listening at" if role == workers.CHIEF else "working for the chief at"
        console.print(f"{verb} {host}:{port}")
    console.print(
        f"{settings['model']} on {images.name}: trained on {len(images.x_train)} images, judged on "
        f"{len(objective.x)} kept out of the training set, eps {objective.eps * 255:.3g}/255; run "
        f"folder {folder.path}",
        soft_wrap=True,
    )


def _finish(console, oracle, folder, settings, wanted, objective):
    found, images = results.collect(oracle), len(objective.x)
    best = results.best_of(found)
    line = None if best is None else results.command(settings, best)
    content = results.as_json(found, best, line, wanted, images)
    write_json(folder.results / "search.json", content)
    if not found:
        raise RunError("no trial has come to an end.")
    title = f"{len(found)} trials, {images} images kept out of the training set"
    console.print(results.table(found, best, images, title))
    if best is None:
        raise RunError(
            "every trial has failed. Lower --eta_range or --learning_rate, or give more --epochs, "
            "in another --run_dir."
        )
    picture = folder.results / "trade-off.png"
    results.plot(picture, found, best, f"{settings['dataset']}, {images} images")
    console.print(f"trade-off: {picture}", soft_wrap=True)
    console.print("to train the best on all training images:")
    console.print(line, soft_wrap=True, markup=False)
