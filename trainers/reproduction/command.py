"""What `python -m trainers.reproduce` does with its flags."""

import functools

from rich.console import Console

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.columns import Column, print_table
from trainers.reproduction import figure_plans, layout, plan
from trainers.reproduction.durations import Durations, duration
from trainers.reproduction.execution import Agenda, Attacker, Execution
from trainers.reproduction.runs import Recipe
from trainers.reproduction.scales import SCALES
from trainers.reproduction.store import Store

ALL = "all"
_WIDTH_ELSEWHERE = 120


def reproduce(settings, changes):
    """Makes tables and figures, or lists what they need.

    Args:
        settings: The program's own flags, by name.
        changes: Training flags that the user has set for all runs.
    """
    scale = SCALES[settings["scale"] or "smoke"]
    recipe = Recipe(scale, seeds_of(settings["seeds"]), changes)
    numbers, names = chosen(settings["table"], settings["figure"])
    plans = [plan.table(number, recipe) for number in numbers]
    plans += [figure_plans.figure(name, recipe) for name in names]
    store = Store(settings["run_dir"], scale)
    if settings["dry_run"]:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_WIDTH_ELSEWHERE)
        list_runs(console, store, plans)
        return
    # TensorFlow takes seconds to import.
    from keras_mpdsgr import experiments
    from keras_mpdsgr.experiments.progress import AttackProgress, make_console

    console = make_console()

    def data_dir(dataset):
        apart = settings["tiny_imagenet_dir"] if dataset == "tiny_imagenet" else None
        return apart or settings["data_dir"]

    attacker = Attacker(store, data_dir, AttackProgress(console), changes.get("jit", "auto"))
    folder = store.root / "tables"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot write to --run_dir: {error}") from error

    def write(one):
        write_plan(folder, one, store, recipe, attacker)
        console.print(f"written: {folder}/{file_of(one)}.md, .csv, .png", soft_wrap=True)

    # The tables have attacks of their own.
    train = functools.partial(experiments.train, attack=False)
    execution = Execution(store, console, data_dir, train, attacker)
    execution.carry_out(plans, done=write)


def seeds_of(words):
    """The seeds as whole numbers."""
    try:
        seeds = tuple(dict.fromkeys(int(word) for word in words))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0:
        raise SetupError(
            f"--seeds must be whole numbers >= 0, separated by commas. Received: {','.join(words)}."
        )
    return seeds


def chosen(numbers, names):
    """The tables and figures asked for, each once."""
    numbers = _all_of("table", numbers, plan.NUMBERS)
    names = _all_of("figure", names, figure_plans.NAMES)
    if not numbers and not names:
        raise SetupError("give --table 1..5 or all, or --figure, once or several times.")
    return numbers, names


def _all_of(flag, words, known):
    words = [part for word in words or () for part in word.split(",") if part]
    if ALL in words:
        return list(known)
    unknown = [word for word in words if word not in known]
    if unknown:
        raise SetupError(f"--{flag} must be of {', '.join(known)}, {ALL}. Received: {unknown[0]}.")
    return list(dict.fromkeys(words))


def file_of(one):
    """Name of a table's or figure's files, without ending."""
    return one.name if isinstance(one, plan.Table) else f"figure{one.name}"


def write_plan(folder, one, store, recipe, attacker):
    """Writes a table or a figure."""
    # matplotlib takes a second to import, which --dry_run should not cost.
    from trainers.reproduction import figures, pictures

    if not isinstance(one, plan.Table):
        figures.write_figure(folder, one, store, recipe, attacker)
        return
    layout.write(folder / f"{one.name}.md", layout.markdown(one, store, recipe))
    layout.write(folder / f"{one.name}.csv", layout.csv_text(one, store))
    pictures.plot_table(folder / f"{one.name}.png", one, store)


def list_runs(console, store, plans):
    """Lists every run with what is missing of it and how long that will take."""
    agenda = Agenda(store, plans)
    estimates = Durations(store, agenda.runs)
    columns = [
        Column("run folder", rank=0),
        Column("training", number=False),
        Column("attacks missing", number=False, rank=2),
        Column("about"),
    ]
    rows = []
    for run in agenda.runs:
        missing = [task.group for task in agenda.missing(run)]
        trained = "failed" if store.failure(run) else "done" if store.trained(run) else "missing"
        seconds = agenda.seconds(run, estimates)
        about = duration(seconds) if seconds else "done"
        rows.append((run.folder, trained, ", ".join(missing) or "none", about))
    print_table(console, f"runs under {store.root}/runs", columns, rows)
    left = duration(agenda.seconds_left())
    console.print(
        f"{agenda.runs_left()} of {len(agenda.runs)} runs left, about {left} in all, by "
        f"{estimates.source}.",
        soft_wrap=True,
    )
