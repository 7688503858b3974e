"""A search from its flags to its table."""

import functools

import keras_tuner

from keras_mpdsgr import data, tuning
from keras_mpdsgr.errors import RunError, SetupError, setup_errors
from keras_mpdsgr.experiments import imports, networks
from keras_mpdsgr.experiments.columns import print_table
from keras_mpdsgr.experiments.progress import make_console
from keras_mpdsgr.experiments.run_folder import RunFolder, default_path
from keras_mpdsgr.experiments.settings import command_line
from keras_mpdsgr.files import write_json
from trainers.tuning import control, results, workers
from trainers.tuning.show import SearchShow
from trainers.tuning.trials import TrialModel, keep_out
from trainers.tuning.tuner import SearchTuner, damaged, is_over, make_oracle


def tune(config):
    """Searches or resumes a search, and prints what was found.

    Args:
        config: The `SearchConfig`.
    """
    imports.load(config.imports)
    role, address = workers.take_part(config.chief_address, config.worker_id)
    console = make_console()
    with setup_errors():
        space = _space(config, console)
        images = _images(config)
        objective = _objective(config, images)
        say = functools.partial(console.print, soft_wrap=True, markup=False)
        trial = TrialModel(config, images, space, objective, say)
        trial.build(keras_tuner.HyperParameters())  # refuses what no network can be made of
    if role == workers.WORKER:
        workers.wait_for_chief(address)
    with _folder(config, role) as folder:
        show = SearchShow(console, config.max_trials, config.epochs, role == workers.ALONE)
        oracle = make_oracle(
            config.algorithm,
            objective.tuner_objective,
            config.max_trials,
            config.epochs,
            space.dimensions,
            config.seed,
        )
        if role == workers.CHIEF:
            oracle.ended = show.ended
        tuner = SearchTuner(oracle, trial, folder.path, show)
        _greet(console, role, address, config, images, objective, folder)
        if role != workers.CHIEF or not is_over(oracle):  # a chief would wait for workers
            tuner.search(verbose=0)
        if role == workers.WORKER:
            console.print("the chief has no more trials; it prints the results")
            return
        _finish(console, oracle, folder, config, objective, tuner, show)


def _space(config, console):
    for name in config.surrogates or [config.surrogate]:
        networks.check(config.training(surrogate=name))
    space = tuning.SearchSpace(
        eta=config.eta_range,
        gamma=config.gamma_range,
        tau=config.tau_range,
        surrogates=config.surrogates or (),
    )
    if space.eta[0] < space.eta[1] and not _eta_acts(config):
        console.print(f"eta has no effect with defense {config.defense}: not searched")
        space.eta = (space.eta[0],) * 2
    if not space.dimensions:
        raise SetupError("there is nothing to search: every range holds one value.")
    return space


def _images(config):
    images = data.load(
        config.dataset,
        config.data_dir,
        config.limit_train,
        limit_test=1,
        image_size=config.image_size,
    )
    return keep_out(images, config.validation_share, config.seed)


def _objective(config, images):
    judged = slice(min(config.search_images, len(images.x_test)))
    return tuning.RobustObjective(
        data.to_pixels(images.x_test[judged]),
        images.y_test[judged],
        score=config.objective,
        clean_weight=config.clean_weight,
        clean_floor=config.clean_floor,
        eps=config.eval_eps,
        steps=config.search_steps,
        batch_size=config.eval_batch_size,
        seed=config.seed,
        jit=config.jit,
    )


def _folder(config, role):
    folder = RunFolder(config.run_dir or default_path(config))
    if role == workers.WORKER and not folder.config_path.is_file():
        # On a machine that does not see the chief's folder, only KerasTuner writes here.
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder
    folder = RunFolder.for_training(config, lock=role != workers.WORKER)
    broken = damaged(folder.path)
    if broken is not None:
        raise SetupError(f"{broken} is damaged. Give another `run_dir`.")
    return folder


def _greet(console, role, address, config, images, objective, folder):
    if role != workers.ALONE:
        host, port = address
        verb = "listening at" if role == workers.CHIEF else "working for the chief at"
        console.print(f"{verb} {host}:{port}")
    console.print(
        f"{config.model} on {images.name}: trained on {len(images.x_train)} images, judged on "
        f"{len(objective.x)} kept out of the training set, eps {objective.eps * 255:.3g}/255; run "
        f"folder {folder.path}",
        soft_wrap=True,
    )


def _compared(config, oracle, folder, found, best, tuner, show):
    """What the control says about the regularizer, in words."""
    if not _eta_acts(config):
        return f"no control: eta has no effect with defense {config.defense}"
    measured = control.run(folder.results / "control.json", best, tuner.hypermodel, show)
    (its,) = (one for one in oracle.trials if int(one) + 1 == best.number)
    return control.verdict(measured, tuner.right(its), len(found))


def _eta_acts(config):
    one, other = (networks.make_defense(config.training(eta=value)) for value in (0.0, 1.0))
    return one.get_config() != other.get_config()


def _finish(console, oracle, folder, config, objective, tuner, show):
    found, images = results.collect(oracle), len(objective.x)
    best = results.best_of(found)
    line = None if best is None else command_line(results.training_of(config, best).command())
    own = {k: v for k, v in config.to_dict().items() if k not in config.training().to_dict()}
    content = results.as_json(found, best, line, own, images)
    write_json(folder.results / "search.json", content)
    if not found:
        raise RunError("no trial has finished.")
    title = f"{len(found)} trials, {images} images kept out of the training set"
    whole = folder.results / "search.json"
    columns, rows = results.table(found, best, images)
    print_table(console, title, columns, rows, str(whole))
    if best is None:
        raise RunError(
            "every trial has failed. Lower `eta_range` or `learning_rate`, or give more `epochs`, "
            "in another `run_dir`."
        )
    picture = folder.results / "trade-off.png"
    results.plot(picture, found, best, f"{config.dataset}, {images} images")
    console.print(f"trade-off: {picture}", soft_wrap=True)
    compared = _compared(config, oracle, folder, found, best, tuner, show)
    write_json(folder.results / "search.json", content | {"control": compared})
    console.print(compared, soft_wrap=True)
    console.print("to train the best on all training images:")
    console.print(line, soft_wrap=True, markup=False)
