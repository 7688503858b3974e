"""Holds the paper's theory against a trained model: potentials, Eq. 8, what Omega measures.

    python -m trainers.theory --run_dir saved_models/digits --output runs/theory
    python -m trainers.theory --run_dir RUN_DIR --compare RUN_DIR,RUN_DIR

Prints tables, and writes them as theory.md, and pictures beside it, to --output. The pictures of a
training need the metrics.csv of a run folder. Exit status: 0; 2 for what you can mend; 1 for a
failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import program


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    own = {"flag_values": into}
    flags.DEFINE_string("run_dir", None, "Run folder of a finished training.", **own)
    flags.DEFINE_list(
        "compare",
        [],
        "More run folders: the first one's potentials are laid under the model's own, and the "
        "evolution of all is drawn.",
        **own,
    )
    flags.DEFINE_string("output", None, "Folder for tables and pictures; RUN_DIR/theory.", **own)
    flags.DEFINE_integer("limit", 256, "Test images looked at.", lower_bound=1, **own)
    flags.DEFINE_integer("seed", 0, "Of all that is random.", lower_bound=0, **own)
    flags.DEFINE_string("data_dir", None, "Folder of the data sets; the run's own.", **own)
    return ["run_dir", "compare", "output", "limit", "seed", "data_dir"]


def main(names):
    settings = program.values(names)
    if not settings["run_dir"]:
        raise program.SetupError("--run_dir must name the folder of a finished training.")
    from keras_mpdsgr.experiments import theory_report

    theory_report.write(settings)


if __name__ == "__main__":
    defined = define()
    program.run(lambda: main(defined), __doc__)
