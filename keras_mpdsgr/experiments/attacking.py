"""Attacks the model of a run folder on the test images of its data set."""

import numpy as np

from keras_mpdsgr import attacks, data, evaluation, models
from keras_mpdsgr.errors import SetupError, setup_errors, writing
from keras_mpdsgr.experiments import shards, tables, training
from keras_mpdsgr.experiments.progress import AttackProgress, make_console
from keras_mpdsgr.experiments.run_folder import RunFolder
from keras_mpdsgr.files import Lock
from trainers import experiment_flags

_EXAMPLES = 6
_TRAINED_NOW = "train"
_PAPER_EPS = 8 / 255


def attack_run(settings):
    """Attacks a trained model, prints the table and writes all figures to the run folder.

    Args:
        settings: The flags' values, by name.
    """
    _check_sharing(settings)
    folder = RunFolder.existing(settings["run_dir"])
    config = folder.config()
    trained = config["flags"]
    data_dir = settings["data_dir"] or config.get("places", {}).get("data_dir")
    chosen = settings["attacks"] or settings["suite"]
    strength = settings["eps"], settings["eps_l2"], settings["jit"]
    with setup_errors():
        evaluation.suite(chosen, *strength)  # refuses a wrong name before anything is loaded
        sweeps = _sweeps(settings)
        images = data.load(
            trained["dataset"], data_dir, limit_train=1, image_size=trained.get("image_size")
        )
        model = models.load(folder.model_path)
    limit = min(settings["limit"], len(images.x_test))
    x, y = data.to_pixels(images.x_test[:limit]), images.y_test[:limit]
    eot = evaluation.eot_draws(model, x)
    suite = evaluation.suite(chosen, *strength, eot=eot)
    if settings["dry_run"]:
        _list_attacks(model, x, y, suite, settings)
        return
    substitute = _substitute(folder, config, data_dir, suite, settings)
    console = make_console()
    name = whole = _result_name(chosen, settings["eps"])
    common = {
        "batch_size": min(settings["batch_size"], limit),
        "seed": settings["seed"],
        "progress": AttackProgress(console),
    }
    drop = settings["drop_broken"]
    if drop is None:
        drop = chosen != "paper"
    depends = {"dataset": images.name, "part": images.part, "limit": limit}
    indices, parts = np.arange(limit), None
    if shard := settings["shard"]:
        name = shard.name(whole)
        indices = shard.block(limit, common["batch_size"])
        x, y = x[indices], y[indices]
    if settings["merge"]:
        same = {k: common[k] for k in ("batch_size", "seed")} | {"drop_broken": drop, "eot": eot}
        parts = shards.parts(folder.results, whole, limit, same | depends)
    what = f"the results {name} of {folder.path}"
    with writing(what):
        folder.results.mkdir(exist_ok=True)
    with Lock(folder.results / f"{name}.lock", what), writing(what):
        with setup_errors(), writing(what):
            report = evaluation.evaluate(
                model,
                x,
                y,
                attacks=suite,
                eps=settings["eps"],
                drop_broken=drop,
                eot=eot,
                indices=indices,
                parts=parts,
                journal=folder.results / f"{name}.csv",
                **common,
            )
        report.config |= depends | ({"shard": str(shard)} if shard else {})
        report.command = _command(settings)
        if settings["checks"]:
            _check(report, model, x, y, substitute, settings, common)
        report.to_json(folder.results / f"{name}.json")
        (folder.results / f"{name}.md").write_text(report.to_markdown())
        tables.print_results(console, report)
        if report.checks:
            tables.print_checks(console, report)
        _show_examples(folder, name, model, x, y, images, report, suite, settings)
        for swept in sweeps:
            _sweep(folder, model, x, y, swept, settings, common, console)
    console.print(f"results: {folder.results / name}.json, .csv, .md, .png", soft_wrap=True)


def _check_sharing(settings):
    """Raises SetupError for what a shard cannot do."""
    shard = settings["shard"]
    if not shard:
        return
    if settings["merge"]:
        raise SetupError("--shard and --merge exclude each other: --merge is of all shards.")
    for flag in ("checks", "sweep_eps", "sweep_steps"):
        if settings[flag]:
            raise SetupError(
                f"--{flag} is not of a shard. Run it without --shard, or give it with --merge."
            )
    if settings["substitute"] == _TRAINED_NOW:
        raise SetupError(
            f"--substitute {_TRAINED_NOW} is not of a shard: each would train one of its own. Name "
            "the run folder of one that is trained."
        )


def _list_attacks(model, x, y, suite, settings):
    """Prints what each attack takes at most, from the time of one batch's gradient."""
    expected = evaluation.estimate(model, x, y, suite, len(x), settings["batch_size"])
    tables.print_estimates(make_console(), expected, len(x))


def _result_name(chosen, eps):
    """The suite or the attacks, and the radius where it is not the paper's."""
    name = chosen if isinstance(chosen, str) else "-".join(chosen)
    return name if abs(eps - _PAPER_EPS) < 1e-9 else f"{name}-eps{eps * 255:.4g}"


def _command(settings):
    asked = (f"--{k} {v}" for k, v in sorted(settings.items()) if v not in (None, [], False))
    return f"python -m trainers.attack {' '.join(asked)}"


def _substitute(folder, config, data_dir, suite, settings):
    """The substitute model, trained now if need be; its transfer attack joins the suite."""
    wanted = settings["substitute"]
    if wanted is None:
        return None
    if wanted == _TRAINED_NOW:
        wanted = _train_substitute(folder, config["flags"], data_dir)
    model = models.load(RunFolder.existing(wanted).model_path)
    eps = settings["eps"]
    source = attacks.PGD(eps=eps, steps=50, step_size=eps / 4, jit=settings["jit"])
    suite["transfer"] = attacks.Transfer(model, source)
    return model


def _train_substitute(folder, trained, data_dir):
    """Trains the run's own network without regularizer, by another seed; returns its folder."""
    place = folder.path / "substitute"
    plain = {"defense": "none", "defense_options": {}, "adversarial_training": False}
    trained = {**experiment_flags.defaults(), **trained}
    # On this machine's first device alone: its others are not made ready for it.
    alone = {"distribute": "none", "replicas": None}
    changed = {"eta": 0.0, **plain, **alone, "weight_rule": "decay", "seed": trained["seed"] + 1}
    where = {"data_dir": data_dir, "run_dir": str(place), "eval_batch_size": 100}
    training.train({**trained, **changed, **where})
    return place


def _check(report, model, x, y, substitute, settings, common):
    limit = min(settings["checks_limit"], len(x))
    report.checks = evaluation.Obfuscation(
        model,
        x[:limit],
        y[:limit],
        eps=settings["eps"],
        substitute=substitute,
        jit=settings["jit"],
        **common,
    ).run()


def _show_examples(folder, name, model, x, y, images, report, suite, settings):
    """Images that the strongest L-infinity attack of the suite has broken, as a picture."""
    broken = [
        (label, np.flatnonzero(report.clean_correct & (record.prediction >= 0) & ~right))
        for label, record in report.records.items()
        if record.norm == "linf" and not (right := report.correct(label)).all()
    ]
    broken = [(label, where) for label, where in broken if len(where)]
    if not broken or x.ndim != 4:
        return
    label, where = max(broken, key=lambda entry: len(entry[1]))
    where = where[:_EXAMPLES]
    adversarial = suite[label](
        model, x[where], y[where], settings["seed"], indices=report.indices[where]
    )
    names = np.array(images.class_names)
    evaluation.plots.plot_images(
        folder.results / f"{name}.png",
        x[where],
        adversarial,
        names[y[where]],
        names[report.records[label].prediction[where]],
    )


def _sweeps(settings):
    sweeps = []
    if settings["sweep_eps"]:
        sweeps.append(("eps", settings["sweep_eps"]))
    if settings["sweep_steps"]:
        try:
            sweeps.append(("steps", [int(word) for word in settings["sweep_steps"]]))
        except ValueError:
            raise SetupError(
                "--sweep_steps must be whole numbers separated by commas. Received: "
                f"{','.join(settings['sweep_steps'])}."
            ) from None
    for name, values in sweeps:
        for value in values:
            attacks.get(settings["sweep_attack"], **{name: value})
    return sweeps


def _sweep(folder, model, x, y, swept, settings, common, console):
    name, values = swept
    arguments = {"jit": settings["jit"]} | ({} if name == "eps" else {"eps": settings["eps"]})
    found = evaluation.sweep(
        model, x, y, name, values, settings["sweep_attack"], arguments=arguments, **common
    )
    path = folder.results / f"sweep-{settings['sweep_attack']}-{name}.json"
    found.to_json(path)
    shown = [value * 255 for value in values] if name == "eps" else values
    unit = "/255" if name == "eps" else ""
    evaluation.plots.plot_sweep(
        path.with_suffix(".png"), name, shown, found.counts, found.total, unit
    )
    tables.print_sweep(console, settings["sweep_attack"], name, shown, found, unit)
