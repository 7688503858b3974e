"""What the benchmark programs share: flags, who takes part, the way they end."""

import contextlib
import pathlib
import sys

from absl import flags
from rich import console, progress

from benchmarks import contenders
from benchmarks.contenders.case import Case
from benchmarks.timing import reporting
from benchmarks.timing.workers import BenchmarkError
from keras_mpdsgr.errors import writing
from keras_mpdsgr.experiments import kinds
from keras_mpdsgr.hardware import bfloat16_instructions
from trainers import program, settings_flags

_REPEATS = flags.DEFINE_integer("repeats", 20, "Turns that each contender has.", lower_bound=2)
_QUICK = flags.DEFINE_bool("quick", False, "One case, no trial of torch.compile.")
_SMOKE = flags.DEFINE_bool("smoke", False, "Two turns on a tiny network: that it runs, not how.")
settings_flags.define_kind(
    "width", 0.25, kinds.number_kind(above=0), "Multiplier of all layer widths."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of images and weights.", lower_bound=0)
_JIT = flags.DEFINE_enum(
    "jit", "auto", ["auto", "on", "off"], "XLA for this library and the plain network."
)
_PEERS = flags.DEFINE_list(
    "peers",
    None,
    f"Libraries to compare with, of {', '.join(contenders.PEERS)}; those installed.",
)
_OUTPUT = flags.DEFINE_string("output_dir", "benchmark_results", "Folder of tables and plots.")
# `run` makes them flags of the program that calls it, so that they stand in its `--help`.
flags.disclaim_key_flags()


def quick():
    return _QUICK.value or _SMOKE.value


def smoke():
    return _SMOKE.value


def jit():
    return _JIT.value


def bfloat16():
    """What computes in bfloat16 here, in words; None, which is said, where nothing does."""
    found = bfloat16_instructions()
    if found is None:
        say("bfloat16: no device in use here has instructions for it")
    return found


def repeats():
    return 2 if smoke() else _REPEATS.value


def words():
    """The flags given, but for the place, as words for other benchmarks.

    Raises:
        SetupError: If one is given that each of them sets for itself.
    """
    given = [flag for flag in flags.FLAGS.flags_by_module_dict()[__name__] if flag.present]
    for flag in given:
        if flag.name in ("jit", "width"):
            raise program.SetupError(f"--{flag.name} is set by each of the benchmarks run here.")
    return [flag.serialize() for flag in given if flag.name != "output_dir"]


def output_dir():
    return pathlib.Path(_OUTPUT.value)


def cases(batches, steps):
    """The cases to measure; one if it must be quick.

    Args:
        batches, steps: Batch sizes and window lengths, of which all pairs are taken.
    """
    if smoke():
        return [Case(batch=4, timesteps=2, width=0.02, image_size=16, seed=_SEED.value)]
    every = [
        Case(batch=batch, timesteps=length, width=flags.FLAGS.width, seed=_SEED.value)
        for batch in batches
        for length in steps
    ]
    return every[:1] if quick() else every


def peers():
    """Names of the other libraries that take part.

    Raises:
        SetupError: If one is unknown or not installed.
    """
    if _PEERS.value is None:
        return [name for name in contenders.PEERS if contenders.installed(name)]
    for name in _PEERS.value:
        if name not in contenders.PEERS:
            raise program.SetupError(
                f"flag --peers={name}: must be of {', '.join(contenders.PEERS)}."
            )
        if not contenders.installed(name):
            raise program.SetupError(
                f'flag --peers={name}: it is not installed. Run: pip install ".[bench]"'
            )
    return _PEERS.value


@contextlib.contextmanager
def rounds(title, total):
    """A progress bar; yields a function that is called with the number of rounds done."""
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console.Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def say(text):
    print(text, flush=True)


def finish(name, result, markdown, draw):
    """Writes the files, prints the table and, last, the line of ratios."""
    folder = output_dir()
    with writing(folder):
        reporting.write(folder, name, result, markdown, draw)
    say(markdown)
    say(f"written: {folder / name}.json, .md, .png")
    say(reporting.last_line(result))


def run(main, description):
    """Runs a benchmark program; a comparison that cannot be made is a failure, exit status 1."""

    def guarded():
        try:
            main()
        except BenchmarkError as error:
            raise program.RunError(str(error)) from error

    flags.adopt_module_key_flags(sys.modules[__name__])
    program.run(guarded, description)
