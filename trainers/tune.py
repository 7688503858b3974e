"""Searches eta and gamma for the best robustness, with KerasTuner, and shows what it costs.

    python -m trainers.tune --dataset digits --max_trials 8

Every flag of trainers.cifar applies to each trial, but --eta and --gamma, which are searched. The
defaults here are smaller: --width 0.125, --timesteps 4, --epochs 8. Trials are judged on images
kept out of the training set; the test set is not touched. At the end the best trial's network is
trained without the regularizer (eta 0), and a paired test says whether it has helped. The same
command resumes, also with a higher --max_trials.

Several processes share a search by KerasTuner's protocol: each runs the same command with
--chief_address HOST:PORT (the chief's) and a --worker_id of its own, one of them "chief".

Exit status: 0; 2 for what you can fix; 1 for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import program, settings_flags
from trainers.tuning.config import REFUSED, SearchConfig


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    return settings_flags.define(SearchConfig(), into)


def main(names):
    for name in ("eta", "gamma"):
        if flags.FLAGS[name].present:
            raise program.SetupError(
                f"--{name} is searched. Give --{name}_range LOWEST,HIGHEST, twice the same to keep "
                "one value."
            )
    imports = settings_flags.imported(flags.FLAGS)
    config = SearchConfig(**{**program.values(names), "imports": imports})
    from trainers.tuning import search

    search.tune(config)


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda: main(defined), __doc__, refused=REFUSED)


if __name__ == "__main__":
    start()
