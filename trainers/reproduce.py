"""Reproduces the paper's tables and figures: trains what is missing, attacks, lays out.

    python -m trainers.reproduce --table 2 --scale smoke
    python -m trainers.reproduce --table 1 --table 3 --figure 2 --scale paper --data_dir DIR
    python -m trainers.reproduce --table all --scale cpu --dry_run
    python -m trainers.reproduce --study ablation --data_dir DIR

Scales: paper, the paper's recipe in full; cpu, one night for Table 1 on 2 cores; smoke, minutes, on
digits. Runs are kept under RUN_DIR/runs by their settings and shared by all tables; tables and
figures go to RUN_DIR/tables. The same command resumes where it stopped. Exit status: 0; 2 for
what you can fix; 1 for a failure while running; 130 after Ctrl-C.
"""

import dataclasses

from absl import flags

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.config import ExperimentConfig
from trainers import program, settings_flags
from trainers.study import command as study

_OWN = (
    "table", "figure", "study", "rows", "scale", "seeds", "run_dir", "results_dir", "data_dir",
    "tiny_imagenet_dir", "dry_run",
)  # fmt: skip
# All other settings of a training are set by the scale and by the table.
_CHANGES = {
    "eta": "Weight of Omega in MPD-SGR's runs. The scale's own.",
    "jit": "",
    "mixed_precision": "",
}


def define(into=flags.FLAGS):
    """Defines the program's flags.

    Args:
        into: Where to; the program's own flags.

    Returns:
        The names of its own, and of the training's settings that a user may set for all runs.
    """
    own = {"flag_values": into}
    flags.DEFINE_multi_string("table", [], "1 to 5, or all; may be given several times.", **own)
    flags.DEFINE_multi_string(
        "figure", [], "2, 3, omega, eta, mpd, timesteps, or all; may be given several times.", **own
    )
    flags.DEFINE_enum(
        "study", None, list(study.NAMES), "A study of our own, in place of tables.", **own
    )
    flags.DEFINE_list("rows", [], "Rows of the study, separated by commas; all.", **own)
    flags.DEFINE_enum(
        "scale",
        None,
        ["paper", "cpu", "smoke"],
        "How large. smoke; of a study cpu, which is its full size.",
        **own,
    )
    flags.DEFINE_list("seeds", ["42"], "Seeds, separated by commas: each run once by each.", **own)
    flags.DEFINE_string(
        "run_dir", "runs/reproduce", "Folder of the runs, tables and figures.", **own
    )
    flags.DEFINE_string(
        "results_dir", None, "Folder of a study's results. One under RUN_DIR.", **own
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of the prepared data sets (TFDS). TFDS' own.", **own
    )
    flags.DEFINE_string("tiny_imagenet_dir", None, "Folder of Tiny-ImageNet. --data_dir.", **own)
    flags.DEFINE_bool("dry_run", False, "List the runs and the time they need; do nothing.", **own)
    for field in dataclasses.fields(ExperimentConfig):
        if field.name in _CHANGES:
            help = _CHANGES[field.name] or field.metadata["help"]
            settings_flags.define_kind(field.name, None, field.metadata["kind"], help, into)
    settings_flags.define_imports(into)
    return _OWN, tuple(_CHANGES)


def main(own, changeable):
    from trainers.reproduction import command

    changes = {k: v for k, v in program.values(changeable).items() if v is not None}
    if changes.get("mixed_precision") == "auto":
        raise SetupError(
            "--mixed_precision auto is for one training: the runs of a table are found by their "
            "settings, whichever machine resumes them. Give off, float16 or bfloat16."
        )
    settings = program.values(own)
    if settings["study"]:
        study.run(settings, changes)
        return
    for name in ("rows", "results_dir"):
        if settings[name]:
            raise SetupError(f"--{name} is used only with --study, which is not given.")
    command.reproduce(settings, changes)


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda: main(*defined), __doc__)


if __name__ == "__main__":
    start()
