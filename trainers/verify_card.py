"""Checks the card of a saved model: its text against its files, its figures against the model.

    python -m trainers.verify_card saved_models/digits
    python -m trainers.verify_card saved_models/digits --retrain

Evaluates the model again as its reports were, and fails if a share is off by more than one point.
With --retrain a network is trained again by the recorded settings in its place, and a share may be
anywhere in the card's interval. Exit status: 0; 2 for what you can fix; 1 if the card is not what
it should be, or for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments import kinds
from trainers import program, settings_flags


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    table = {
        "data_dir": (None, kinds.TEXT, "Folder of the data sets; the usual one."),
        "retrain": (False, kinds.SWITCH, "Train a network again and evaluate that."),
        "limit": (None, kinds.integer_kind(), "Test images evaluated; all of each report."),
    }
    return settings_flags.define_table(table, into)


def main(folders, names):
    if len(folders) != 1:
        raise program.SetupError("name one folder: trainers.verify_card saved_models/NAME")
    from keras_mpdsgr.pages import card_check

    card_check.check(*folders, **program.values(names))


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda folders: main(folders, defined), __doc__, positional=True)


if __name__ == "__main__":
    start()
