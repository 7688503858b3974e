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

experiment_flags.define(
    dataset="cifar10", datasets=["cifar10", "cifar100", "tiny_imagenet", "digits", "folder"]
)
flags.adopt_module_key_flags(experiment_flags)
for _name, _value in {"width": 0.125, "timesteps": 4, "epochs": 8}.items():
    flags.FLAGS.set_default(_name, _value)

# What the results depend on; a folder holds one search with one set of these.
_SEARCH = [
    flags.DEFINE_enum(
        "algorithm", "random", ["random", "hyperband", "bayesian"], "How values are chosen."
    ),
    flags.DEFINE_enum(
        "objective",
        "robust",
        ["robust", "weighted", "constrained"],
        "Robust accuracy; a mean of clean and robust by --clean_weight; or robust accuracy where "
        "the clean one reaches --clean_floor.",
    ),
    flags.DEFINE_float("clean_weight", 0.5, "Weight of clean accuracy in --objective weighted."),
    flags.DEFINE_float("clean_floor", 0.8, "Least clean accuracy in --objective constrained."),
    flags.DEFINE_list(
        "eta_range", ["0.001", "1"], "Lowest and highest eta, on a logarithmic scale."
    ),
    flags.DEFINE_list(
        "gamma_range", ["0.25", "4"], "Lowest and highest gamma, on a logarithmic scale."
    ),
    flags.DEFINE_list("tau_range", None, "Lowest and highest tau; --tau is kept without it."),
    flags.DEFINE_list(
        "surrogates", None, "Surrogates to choose from, as triangle,arctan; else --surrogate."
    ),
    flags.DEFINE_float("validation_share", 0.2, "Share of the training images kept out of it."),
    flags.DEFINE_integer(
        "search_images", 100, "Images of these that a trial is judged on.", lower_bound=1
    ),
    flags.DEFINE_integer(
        "search_steps", 20, "Gradient steps of the attacks that judge it.", lower_bound=1
    ),
]
_PLACE = [
    flags.DEFINE_integer("max_trials", 8, "Trials, at most.", lower_bound=1),
    flags.DEFINE_string("chief_address", None, "HOST:PORT of the chief of a shared search."),
    flags.DEFINE_string(
        "worker_id", None, "Name of this process in a shared search: chief, or one of its own."
    ),
]


def main():
    for name in ("eta", "gamma"):
        if flags.FLAGS[name].present:
            raise program.UsageError(
                f"--{name} is searched. Give --{name}_range LOWEST,HIGHEST, twice the same to keep "
                "one value."
            )
    wanted = {flag.name: flag.value for flag in _SEARCH}
    shared = {flag.name: flag.value for flag in _PLACE}
    from trainers.tuning import search

    search.tune(experiment_flags.values(), wanted, **shared)


if __name__ == "__main__":
    program.run(main, __doc__)
