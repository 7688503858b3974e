"""The table of a few attacks that every training ends with."""

from keras_mpdsgr import attacks, data, evaluation
from keras_mpdsgr.errors import setup_errors
from keras_mpdsgr.experiments import tables
from keras_mpdsgr.experiments.attack_config import AttackConfig
from keras_mpdsgr.experiments.progress import AttackProgress
from keras_mpdsgr.experiments.selection import measured
from keras_mpdsgr.experiments.settings import command_line


def measure(model, config, images, folder, console):
    """Attacks the model, prints the table and writes it to results/ of a `RunFolder`."""
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
    kept = folder.best_epoch()
    if kept is not None:
        report.config["selection"] = _selection(kept, config, folder)
    report.command = command_line(folder.command())
    report.to_json(folder.results / "final.json")
    tables.print_results(console, report)
    _print_selection(console, report)
    _print_bound(console, folder.path)


def _selection(kept, config, folder):
    """Which epoch's model it is, and which lies beside it, by name."""
    last = measured(folder.metrics())[-1]
    return {
        "model": f"{folder.model_path.name}, epoch {kept.number}",
        "last": f"{folder.last_model_path.name}, epoch {last.number}",
        "by": f"PGD-10 on {config.validation_images} training images set apart",
        "robust": kept.robust,
        "robust_last": last.robust,
    }


def _print_selection(console, report):
    chosen = report.config.get("selection")
    if chosen is not None:
        console.print(
            f"{chosen['model']}, is kept by {chosen['by']}: {chosen['robust']:.1%} right; "
            f"{chosen['last']}: {chosen['robust_last']:.1%}",
            soft_wrap=True,
        )


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


def print_again(console, run):
    """Prints the table of a run that is done."""
    path = run.results / "final.json"
    if path.is_file():
        with setup_errors():
            report = evaluation.Report.from_json(path)
            tables.print_results(console, report)
            _print_selection(console, report)
        _print_bound(console, run.path)
    else:
        console.print("there is none: it was trained to be attacked by another program.")
