"""Reproduces the paper's tables and figures: trains what is missing, attacks, lays out.

    python -m trainers.reproduce --table 2 --scale smoke
    python -m trainers.reproduce --table 1 --table 3 --figure 2 --scale paper --data_dir DIR
    python -m trainers.reproduce --table all --scale cpu --dry_run

Scales: paper, the paper's recipe in full; cpu, one night for Table 1 on 2 cores; smoke, minutes, on
digits. Runs are kept under RUN_DIR/runs by their settings and shared by all tables; tables and
figures go to RUN_DIR/tables. The same command goes on where it was cut off. Exit status: 0; 2 for
what you can mend; 1 for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import experiment_flags, program

experiment_flags.define(
    dataset="cifar10", datasets=["cifar10", "cifar100", "tiny_imagenet", "digits"]
)
_OWN = [
    flags.DEFINE_multi_string("table", [], "1 to 5, or all; may be given several times."),
    flags.DEFINE_multi_string(
        "figure", [], "2, 3, omega, eta, mpd, timesteps, or all; may be given several times."
    ),
    flags.DEFINE_enum("scale", "smoke", ["paper", "cpu", "smoke"], "How large."),
    flags.DEFINE_list("seeds", ["42"], "Seeds, separated by commas: each run once by each."),
    flags.DEFINE_bool("dry_run", False, "List the runs and the time they need; do nothing."),
]
# Of the training flags, those that say where and on what a run is done, and eta, which the paper
# does not give. The scale sets all others.
_OPEN = (
    "data_dir",
    "run_dir",
    "eta",
    "jit",
    "mixed_precision",
    "deterministic",
    "eval_batch_size",
    "distribute",
)
for _name in _OPEN:
    if _name in flags.FLAGS:
        flags.declare_key_flag(_name)


def main():
    given = [name for name in experiment_flags.values() if flags.FLAGS[name].present]
    closed = [name for name in given if name not in _OPEN]
    if closed:
        raise program.UsageError(f"--{closed[0]} is set by --scale and by the table.")
    values = experiment_flags.values()
    settings = {flag.name: flag.value for flag in _OWN}
    settings["data_dir"] = values["data_dir"]
    settings["run_dir"] = values["run_dir"] or f"runs/reproduce-{settings['scale']}"
    places = ("data_dir", "run_dir")
    changes = {name: values[name] for name in given if name not in places}
    from trainers.reproduction import command

    command.reproduce(settings, {**values, "run_dir": None}, changes)


if __name__ == "__main__":
    program.run(main, __doc__)
