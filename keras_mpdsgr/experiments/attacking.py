"""Attacks the model of a run, or of a file, on the test images of a data set."""

import numpy as np

from keras_mpdsgr import attacks, data, evaluation
from keras_mpdsgr.errors import SetupError, setup_errors, writing
from keras_mpdsgr.evaluation.admission import admit
from keras_mpdsgr.experiments import imports, shards, tables
from keras_mpdsgr.experiments.attack_config import TRAINED_NOW
from keras_mpdsgr.experiments.config import ADVERSARIAL
from keras_mpdsgr.experiments.model_file import ModelFile
from keras_mpdsgr.experiments.progress import AttackProgress, make_console
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.settings import command_line
from keras_mpdsgr.experiments.training import train
from keras_mpdsgr.files import Lock

_EXAMPLES = 6
_PAPER_EPS = 8 / 255


def attack(config, verbose=True):
    """As `experiments.attack`, which says what the arguments are."""
    run = _attacked(config)
    imports.load(config.imports)
    run.import_parts()
    config.check_names()
    console = make_console(quiet=not verbose)
    strength = config.eps, config.eps_l2, config.jit
    # A wrong name, before anything is loaded.
    with setup_errors(attacks="attacks" if config.attacks else "suite"):
        evaluation.suite(config.chosen, *strength)
    with setup_errors(attacks="sweep_attack"):
        sweeps = _sweeps(config)
    images = run.images(config.data_dir, limit_train=1)
    model = run.model()
    limit = min(config.limit, len(images.x_test))
    x, y = data.to_pixels(images.x_test[:limit]), images.y_test[:limit]
    eot = evaluation.eot_draws(model, x)
    suite = evaluation.suite(config.chosen, *strength, eot=eot)
    if config.dry_run:
        suite, *_ = admit(suite, model, x)
        expected = evaluation.estimate(model, x, y, suite, limit, config.batch_size, config.outputs)
        tables.print_estimates(console, expected, limit)
        return None
    substitute = _substitute(run, config, verbose)
    if substitute is not None:
        source = attacks.PGD(eps=config.eps, steps=50, step_size=config.eps / 4, jit=config.jit)
        suite["transfer"] = attacks.Transfer(substitute, source)
    whole = _result_name(config.chosen, config.eps)
    common = {
        "batch_size": min(config.batch_size, limit),
        "seed": config.seed,
        "progress": AttackProgress(console),
        "outputs": config.outputs,
    }
    drop = config.chosen != "paper" if config.drop_broken is None else config.drop_broken
    depends = {"dataset": images.name, "part": images.part, "limit": limit}
    name, indices, parts = whole, np.arange(limit), None
    if config.shard:
        shard = shards.Shard.of_text(config.shard)
        name = shard.name(whole)
        indices = shard.block(limit, common["batch_size"])
        depends["shard"] = str(shard)
    if config.merge:
        same = {k: common[k] for k in ("batch_size", "seed")} | {"drop_broken": drop, "eot": eot}
        same |= {"grid": config.grid}
        parts = shards.parts(run.results, whole, limit, same | depends)
    x, y = x[indices], y[indices]
    what = f"the results {name} of {run.path}"
    with writing(what):
        run.results.mkdir(parents=True, exist_ok=True)
    with (
        Lock(run.results / f"{name}.lock", what, "results_dir" if config.model_file else "run_dir"),
        writing(what),
    ):
        with setup_errors(), writing(what):
            report = evaluation.evaluate(
                model,
                x,
                y,
                attacks=suite,
                eps=config.eps,
                drop_broken=drop,
                eot=eot,
                indices=indices,
                parts=parts,
                journal=run.results / f"{name}.csv",
                grid=config.grid,
                **common,
            )
        report.config |= depends
        report.command = command_line(config.command())
        if config.checks:
            report.checks = _checks(model, x, y, substitute, config, common)
        report.to_json(run.results / f"{name}.json")
        (run.results / f"{name}.md").write_text(report.to_markdown())
        tables.print_results(console, report)
        if report.checks:
            tables.print_checks(console, report)
        _show_examples(run, name, model, x, y, images, report, suite)
        for swept in sweeps:
            _sweep(run, model, x, y, swept, config, common, console)
    console.print(f"results: {run.results / name}.json, .csv, .md, -images.png", soft_wrap=True)
    return report


def _attacked(config):
    """The `Run` or the `ModelFile` whose model is attacked."""
    if config.model_file:
        return ModelFile.checked(config.model_file, config.dataset, config.results_dir)
    if config.run_dir:
        return Run.finished(config.run_dir)
    raise SetupError(
        "`run_dir` must name the folder of a finished training, or `model_file` a .keras file."
    )


def _result_name(chosen, eps):
    """The suite or the attacks, and the radius where it is not the paper's."""
    name = chosen if isinstance(chosen, str) else "-".join(chosen)
    return name if abs(eps - _PAPER_EPS) < 1e-9 else f"{name}-eps{eps * 255:.4g}"


def _substitute(run, config, verbose):
    """The substitute model, trained now if need be; None where none was asked for."""
    if config.substitute is None:
        return None
    if config.substitute == TRAINED_NOW:
        return _train_substitute(run, config.data_dir, verbose).model()
    return Run.finished(config.substitute).model()


def _train_substitute(run, data_dir, verbose):
    """Trains the run's own network without regularizer, by another seed; returns its `Run`."""
    trained = run.config
    plain = trained.replace(
        defense="none",
        defense_options={},
        adversarial_training=False,
        **ADVERSARIAL,
        eta=0.0,
        awp=0.0,
        weight_rule="decay",
        validation_images=None,
        validation_every=1,
        seed=trained.seed + 1,
        # On this machine's first device alone: its others are not made ready for it.
        distribute="none",
        replicas=None,
        data_dir=data_dir or trained.data_dir,
        run_dir=str(run.path / "substitute"),
        eval_batch_size=100,
    )
    return train(plain, verbose=verbose)


def _checks(model, x, y, substitute, config, common):
    limit = min(config.checks_limit, len(x))
    return evaluation.Obfuscation(
        model,
        x[:limit],
        y[:limit],
        eps=config.eps,
        substitute=substitute,
        jit=config.jit,
        **common,
    ).run()


def _show_examples(run, name, model, x, y, images, report, suite):
    """A picture of images that the strongest L-infinity attack of the suite has broken."""
    broken = [
        (label, np.flatnonzero(report.clean_correct & (record.prediction >= 0) & ~right))
        for label, record in report.records.items()
        if record.norm == "linf" and not (right := report.correct(label)).all()
    ]
    broken = [(label, where) for label, where in broken if len(where)]
    if not broken or x.ndim != 4:
        return
    label, where = max(broken, key=lambda entry: len(entry[1]))
    found, where = len(where), where[:_EXAMPLES]
    numbers = report.indices[where]
    shown, *_ = admit({label: suite[label]}, model, x)  # as the evaluation has run it
    target = shown[label].target(model, report.config["outputs"])
    same = {"seed": report.config["seed"], "indices": numbers, "stream": (label,)}
    adversarial = shown[label].run(target, x[where], y[where], **same)
    names = np.array(images.class_names)
    evaluation.plots.plot_images(
        run.results / f"{name}-images.png",
        x[where],
        adversarial,
        names[y[where]],
        names[report.records[label].prediction[where]],
        title=f"{_called(run)}, {images.name}: {len(where)} of the {found}\u00a0images that "
        f"{label} has broken, eps\u00a0{tables.radius(report.eps)}",
    )


def _sweeps(config):
    """The sweeps asked for: what is varied, and its values."""
    asked = {"eps": config.sweep_eps, "steps": config.sweep_steps}
    sweeps = [(name, list(values)) for name, values in asked.items() if values]
    for name, values in sweeps:
        for value in values:
            attacks.get(config.sweep_attack, **{name: value})
    return sweeps


def _sweep(run, model, x, y, swept, config, common, console):
    name, values = swept
    arguments = {"jit": config.jit} | ({} if name == "eps" else {"eps": config.eps})
    found = evaluation.sweep(
        model, x, y, name, values, config.sweep_attack, arguments=arguments, **common
    )
    path = run.results / f"sweep-{config.sweep_attack}-{name}.json"
    found.to_json(path)
    shown = [value * 255 for value in values] if name == "eps" else values
    unit = "/255" if name == "eps" else ""
    within = "" if name == "eps" else f", eps\u00a0{tables.radius(config.eps)}"
    title = f"{_called(run)}: {config.sweep_attack} over {name}{within}"
    evaluation.plots.plot_sweep(
        path.with_suffix(".png"), name, shown, found.counts, found.total, unit, title
    )
    tables.print_sweep(console, config.sweep_attack, name, shown, found, unit)


def _called(run):
    """The name of a run folder or of a model file."""
    return run.path.resolve().name
