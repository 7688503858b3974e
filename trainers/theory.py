"""Compares the paper's theory with a trained model: potentials, Eq. 8, what Omega measures.

    python -m trainers.theory --run_dir saved_models/digits --output runs/theory
    python -m trainers.theory --run_dir RUN_DIR --compare RUN_DIR,RUN_DIR

Prints tables, and writes them as theory.md and theory.json, and pictures beside, to --output. The
pictures of a training need the metrics.csv of a run folder. Exit status: 0; 2 for what you can fix;
1 for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments import kinds
from trainers import program, settings_flags


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    several = kinds.tuple_kind(kinds.TEXT, "paths, separated by commas")
    more = "More run folders: the first one's potentials are laid under the model's own, and the "
    table = {
        "run_dir": (None, kinds.TEXT, "Run folder of a finished training."),
        "compare": ((), several, f"{more}evolution of all is drawn."),
        "output": (None, kinds.TEXT, "Folder for tables and pictures; RUN_DIR/theory."),
        "limit": (256, kinds.integer_kind(), "Test images looked at."),
        "seed": (0, kinds.integer_kind(least=0), "Of all that is random."),
        "data_dir": (None, kinds.TEXT, "Folder of the data sets; the run's own."),
    }
    return settings_flags.define_table(table, into)


def main(names):
    settings = program.values(names)
    if not settings["run_dir"]:
        raise program.SetupError("`run_dir` must name the folder of a finished training.")
    from keras_mpdsgr.experiments import theory_report

    theory_report.write(**settings)


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda: main(defined), __doc__)


if __name__ == "__main__":
    start()
