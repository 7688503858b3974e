"""What `python -m trainers.reproduce --study ablation` does with its flags."""

import pathlib

from keras_mpdsgr.arguments import did_you_mean
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.files import read_json
from trainers.study import rows as planned

NAMES = ("ablation",)
_DONE = "done"


def run(settings, changes):
    """Trains and judges the rows that are missing, or lists them.

    Args:
        settings: The program's own flags, by name.
        changes: Training flags that the user has set, which no row takes.
    """
    given = [name for name in ("table", "figure", "tiny_imagenet_dir") if settings[name]]
    given += ["seeds"] if settings["seeds"] != ["42"] else []
    given += list(changes)
    if given:
        raise SetupError(
            f"--{given[0]} cannot be combined with --study, which sets it for each row."
        )
    chosen = chosen_rows(settings["rows"])
    scale = settings["scale"] or "cpu"
    if scale not in planned.STUDIES:
        raise SetupError(
            f"--study takes --scale {' or '.join(planned.STUDIES)}. Received: {scale}."
        )
    study = planned.STUDIES[scale]
    root = pathlib.Path(settings["run_dir"]) / settings["study"]
    if scale != "cpu":
        root = root.with_name(f"{root.name}-{scale}")
    folder = pathlib.Path(settings["results_dir"] or root / "results")
    states = {row.name: _state(row, study, folder) for row in chosen}
    missing = [row for row in chosen if states[row.name] != _DONE]
    if settings["dry_run"]:
        for row in chosen:
            print(f"{row.name}: {row.title}, {states[row.name]}")
        print(f"{len(missing)} of {len(chosen)} rows left; results: {folder}")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot write to {folder}: {error}") from error
    _carry_out(missing, study, settings["data_dir"], root / "runs", folder)


def _state(row, study, folder):
    """Whether a row is done, by these very settings."""
    path = folder / f"{row.name}.json"
    if not path.is_file():
        return "missing"
    same = read_json(path).get("command") == planned.training_command(row, study)
    return _DONE if same else "done with other settings, to be run again"


def chosen_rows(names):
    """The rows of these names, all where there are none.

    Raises:
        SetupError: If there is no row of a name.
    """
    for name in names or ():
        if name not in planned.ROWS:
            meant = did_you_mean(name, planned.ROWS)
            raise SetupError(
                f"--rows must be of {', '.join(planned.ROWS)}. Received: {name}.{meant}"
            )
    return [row for row in planned.ROWS.values() if not names or row.name in names]


def _carry_out(rows, study, data_dir, runs, folder):
    # TensorFlow takes seconds to import.
    import keras

    from keras_mpdsgr.experiments.progress import AttackProgress, make_console
    from keras_mpdsgr.experiments.run import Run
    from trainers.study import measuring, table

    console = make_console()
    for number, row in enumerate(rows, 1):
        console.rule(f"row {number} of {len(rows)}: {row.name}, {row.title}")
        told = measuring.measure(row, study, data_dir, runs, AttackProgress(console))
        measuring.write(told, Run(runs / row.trained_as), folder)
        table.write(folder)
        keras.backend.clear_session()
    console.print(f"results: {folder}; table: {table.write(folder)}", soft_wrap=True)
