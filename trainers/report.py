"""Writes one HTML page about one run or several, side by side; it needs no network to be read.

    python -m trainers.report RUN_DIR [RUN_DIR ...]
    python -m trainers.report RUN_DIR net.keras

A .keras file is shown by what `trainers.attack --model_file` has left beside it; where it went
elsewhere by --results_dir, name that folder.

Shows accuracy under every attack with its interval, gradient checks, paired tests between runs,
curves, figures and membrane potentials of each layer, flags and commands. Exit status: 0; 2 for
what you can fix; 1 for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import program, settings_flags


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    own = {"flag_values": into}
    output = "HTML file to write or replace; report.html in the first RUN_DIR if none is named."
    flags.DEFINE_string("output", None, output, **own)
    flags.DEFINE_bool(
        "histograms", True, "Load the models for histograms of their membrane potentials.", **own
    )
    flags.DEFINE_string("data_dir", None, "Folder of the data sets; each run's own.", **own)
    settings_flags.define_imports(into)
    return ["output", "histograms", "data_dir"]


def main(run_dirs, names):
    settings = program.values(names)
    if not run_dirs:
        raise program.SetupError(
            "name at least one run folder or .keras file: trainers.report RUN_DIR ..."
        )
    from keras_mpdsgr.pages import page

    print(f"page: {page.write(run_dirs, **settings)}")


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda run_dirs: main(run_dirs, defined), __doc__, positional=True)


if __name__ == "__main__":
    start()
