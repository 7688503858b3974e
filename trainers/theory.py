"""Holds the paper's theory against a trained model: potentials, Eq. 8, what Omega measures.

    python -m trainers.theory --run_dir saved_models/digits --output runs/theory
    python -m trainers.theory --run_dir RUN_DIR --compare RUN_DIR,RUN_DIR

Prints tables, and writes them as theory.md, and pictures beside it, to --output. The pictures of a
training need the metrics.csv of a run folder. Exit status: 0; 2 for what you can mend; 1 for a
failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import program

_FLAGS = [
    flags.DEFINE_string("run_dir", None, "Run folder of a finished training."),
    flags.DEFINE_list(
        "compare",
        [],
        "More run folders: the first one's potentials are laid under the model's own, and the "
        "evolution of all is drawn.",
    ),
    flags.DEFINE_string("output", None, "Folder for tables and pictures; RUN_DIR/theory."),
    flags.DEFINE_integer("limit", 256, "Test images looked at.", lower_bound=1),
    flags.DEFINE_integer("seed", 0, "Of all that is random.", lower_bound=0),
    flags.DEFINE_string("data_dir", None, "Folder of the data sets; the run's own."),
]


def main():
    settings = {flag.name: flag.value for flag in _FLAGS}
    if not settings["run_dir"]:
        raise program.UsageError("--run_dir must name the folder of a finished training.")
    from trainers import theory_report

    theory_report.write(settings)


if __name__ == "__main__":
    program.run(main, __doc__)
