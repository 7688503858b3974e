"""Searches eta and gamma for the best robustness, with KerasTuner, and shows what it costs.

    python -m trainers.tune --dataset digits --max_trials 8

Every flag of trainers.cifar applies to each trial, but --eta and --gamma, which are searched. The
defaults here are smaller: --width 0.125, --timesteps 4, --epochs 8. Trials are judged on images
kept out of the training set; the test set is not touched. The same command run again goes on,
also with a higher --max_trials.

Several processes share a search by KerasTuner's protocol: each runs the same command with
--chief_address HOST:PORT (the chief's) and a --worker_id of its own, one of them "chief".

Exit status: 0; 2 for what you can mend; 1 for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import experiment_flags, program
from trainers.experiment_flags import define_number, define_range

_DATASETS = ["cifar10", "cifar100", "tiny_imagenet", "digits", "folder"]
_SMALLER = {"width": 0.125, "timesteps": 4, "epochs": 8}
_SHARED = ("max_trials", "chief_address", "worker_id")


def define(into=flags.FLAGS):
    """Defines the program's flags.

    Args:
        into: Where to; the program's own flags.

    Returns:
        The names of the training flags; of those that the results depend on, of which a folder
        holds one search with one set; and of the others.
    """
    own = {"flag_values": into}
    training = experiment_flags.define("cifar10", _DATASETS, into=into)
    for name, value in _SMALLER.items():
        into.set_default(name, value)
    flags.DEFINE_enum(
        "algorithm", "random", ["random", "hyperband", "bayesian"], "How values are chosen.", **own
    )
    flags.DEFINE_enum(
        "objective",
        "robust",
        ["robust", "weighted", "constrained"],
        "Robust accuracy; a mean of clean and robust by --clean_weight; or robust accuracy where "
        "the clean one reaches --clean_floor.",
        **own,
    )
    share = {"least": 0, "most": 1, **own}
    define_number("clean_weight", 0.5, "Weight of clean accuracy in --objective weighted.", **share)
    define_number("clean_floor", 0.8, "Least clean accuracy in --objective constrained.", **share)
    define_range("eta_range", [0.001, 1.0], "Lowest and highest eta, logarithmic.", **own)
    define_range("gamma_range", [0.25, 4.0], "Lowest and highest gamma, logarithmic.", **own)
    define_range(
        "tau_range", None, "Lowest and highest tau; --tau is kept without it.", most=1.0, **own
    )
    flags.DEFINE_list(
        "surrogates",
        None,
        "Surrogates to choose from, as triangle,arctan; else --surrogate.",
        **own,
    )
    define_number(
        "validation_share", 0.2, "Share of the training images kept out of it.", above=0, most=1,
        **own,
    )  # fmt: skip
    flags.DEFINE_integer(
        "search_images", 100, "Images of these that a trial is judged on.", lower_bound=1, **own
    )
    flags.DEFINE_integer(
        "search_steps", 20, "Gradient steps of the attacks that judge it.", lower_bound=1, **own
    )
    flags.DEFINE_integer("max_trials", 8, "Trials, at most.", lower_bound=1, **own)
    flags.DEFINE_string("chief_address", None, "HOST:PORT of the chief of a shared search.", **own)
    flags.DEFINE_string(
        "worker_id",
        None,
        "Name of this process in a shared search: chief, or one of its own.",
        **own,
    )
    shared = list(_SHARED)
    search = [name for name in into if name not in (*training, *shared)]
    return training, search, shared


def main(training, wanted, shared):
    for name in ("eta", "gamma"):
        if flags.FLAGS[name].present:
            raise program.SetupError(
                f"--{name} is searched. Give --{name}_range LOWEST,HIGHEST, twice the same to keep "
                "one value."
            )
    from trainers.tuning import search

    search.tune(program.values(training), program.values(wanted), **program.values(shared))


if __name__ == "__main__":
    defined = define()
    program.run(lambda: main(*defined), __doc__)
