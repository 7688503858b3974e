"""Runs what docs/performance.md lacks on a GPU, and prints one table to paste into a report.

    python -m pip install -c constraints.txt -e ".[gpu,bench]"
    python -m benchmarks.gpu

Training with XLA and without, PGD, and a network of full width as window, width and batch grow.
Each is a benchmark of its own, whose files go to a folder of its own in --output_dir.
"""

import json
import subprocess
import sys

from benchmarks import machine, markdown
from benchmarks.timing import comparison, program, reporting
from benchmarks.timing.workers import BenchmarkError
from trainers.program import SetupError

# Folder: program, its flags, the methods it times and what they are called.
_RUNS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "training": ("training", [], {"train_step": "training step"}),
    "training-no-jit": ("training", ["--jit=off"], {"train_step": "training step, --jit off"}),
    "attack": ("attack", [], {"attack": "PGD-7", "input_gradient": "input gradient"}),
    "scaling": ("scaling", ["--width=1"], {"train_step": "training step, full width"}),
}


def main():
    told = machine.describe()
    if told["gpu"] is None and not program.smoke():
        raise SetupError(
            "nvidia-smi finds no GPU here. --smoke shows on a CPU that this program runs."
        )
    given, results, failed = program.words(), {}, []
    for folder, (name, own, _) in _RUNS.items():
        into = program.output_dir() / folder
        words = [f"benchmarks.{name}", *given, *own, f"--output_dir={into}"]
        program.say(f"python -m {' '.join(words)}")
        done = subprocess.run([sys.executable, "-m", *words])
        if done.returncode:
            failed.append(folder)
        else:
            results[folder] = json.loads((into / f"{name}.json").read_text())
    program.say(table(told, results))
    ratios = {
        f"{folder}.{name}": ratio
        for folder, result in results.items()
        for name, ratio in result["ratios"].items()
    }
    program.say(reporting.last_line({"ratios": ratios}))
    if failed:
        raise BenchmarkError(f"failed, and is not in the table: {', '.join(failed)}. See above.")


def table(told, results):
    """The device and versions in one line, and one table of all that was timed.

    Args:
        told: The machine, as of `machine.describe`.
        results: By folder, what each benchmark has written.
    """
    device = f"{told['gpu']} (driver {told['gpu_driver']})" if told["gpu"] else "no GPU"
    packages = ", ".join(f"{name} {told[name]}" for name in machine.PACKAGES if name in told)
    header = ("what", "case", "who", "ms, median [quartiles]", "times ours")
    rows = [
        (title, *row)
        for folder, result in results.items()
        for method, title in _RUNS[folder][2].items()
        for row in comparison.rows(result, method)
    ]
    where = f"{device}; {told['processor']}, {told['cores']} cores; Python {told['python']}"
    return f"{where}; {packages}\n\n{markdown.table(header, rows)}"


if __name__ == "__main__":
    program.run(main, __doc__)
