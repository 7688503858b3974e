"""Makes a saved model and its card from a run folder and its reports.

    python -m trainers.card RUN_DIR [--out saved_models/NAME]

Writes model.keras (with class names, without the optimizer, at most 5 MB), config.json, reports/
and README.md, the card, which is made of these alone. The run must have been attacked before. Given
a saved model's own folder, it renews the card. Exit status: 0; 2 for what you can fix; 1 for a
failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments import kinds
from trainers import program, settings_flags


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    several = kinds.tuple_kind(kinds.TEXT, "names of reports, separated by commas")
    table = {
        "out": (None, kinds.TEXT, "Folder of the saved model; saved_models/ and RUN_DIR's name."),
        "reports": (None, several, "Reports of the run that the card shows; all."),
        "data_dir": (None, kinds.TEXT, "Folder of the data sets; the run's own."),
    }
    return settings_flags.define_table(table, into)


def main(run_dirs, names):
    if len(run_dirs) != 1:
        raise program.SetupError("name one run folder: trainers.card RUN_DIR")
    from keras_mpdsgr.pages import card

    print(f"card: {card.write(*run_dirs, **program.values(names))}")


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda run_dirs: main(run_dirs, defined), __doc__, positional=True)


if __name__ == "__main__":
    start()
