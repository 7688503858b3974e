import json
import math
import pathlib
import re
import subprocess
import sys

import pytest

from benchmarks import contenders
from keras_mpdsgr import hardware

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = {
    "training": {"train_vs_ann", "omega_overhead"},
    "attack": {"pgd_vs_ann", "pgd_vs_its_gradients"},
    "adversarial": {"n_fgsm_vs_training", "n_fgsm_vs_its_parts", "pgd2_vs_its_parts"},
    "memory": {"memory_vs_ann"},
    "scaling": {"train_vs_ann"},
    "full_width": {"train_vs_ann"},
    "pipeline": {"step_with_pipeline_vs_alone"},
    "operations": {"ours_vs_ann", "ours_bf16_vs_ours"},
}

FORKED = pathlib.Path(__file__).with_name("forked.py").read_text()
MORE_FLAGS = {"operations": ["--bfloat16"]}
IN_BFLOAT16 = {"training": "bf16_train_vs_float32", "attack": "bf16_pgd_vs_float32"}


@pytest.fixture(scope="module")
def all_shallow(shallow, start):
    """The contenders' own list of layers too, cut as `shallow` cuts the library's."""
    layers = {"PLAN": (64, "pool", 128), "UNITS": (4096,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "replaced", {**start.replaced, "benchmarks.contenders.vgg11": layers})
        yield


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_benchmark_runs_and_ends_in_its_ratios(program, run, all_shallow, tmp_path):
    flags = ["--smoke", "--peers=", f"--output_dir={tmp_path}", *MORE_FLAGS.get(program, ())]
    status, out, err = run(None, f"benchmarks.{program}", *flags, text=FORKED)
    assert status == 0, err[-2000:]
    line = json.loads(out.splitlines()[-1])
    ratios = line["ratios"]
    assert ratios.keys() >= PROGRAMS[program]
    if program in IN_BFLOAT16:
        instructions = hardware.bfloat16_instructions()
        assert line["bfloat16"] == (instructions or "none")
        assert (IN_BFLOAT16[program] in ratios) == (instructions is not None)
    assert all(math.isfinite(ratio) for ratio in ratios.values())
    written = json.loads((tmp_path / f"{program}.json").read_text())
    assert written["ratios"].keys() == ratios.keys()
    assert written["machine"]["cores"] >= 1
    assert (tmp_path / f"{program}.md").read_text() in out
    assert (tmp_path / f"{program}.png").stat().st_size > 1000


NUMBERS = ("abc", "", "nan", "inf", "-1", "0")
BAD_FLAGS = {
    "repeats": ("abc", "", "1.5", "1", "-1"),
    "width": NUMBERS,
    "seed": ("abc", "", "1.5", "-1"),
    "quick": ("maybe", "3"),
    "smoke": ("maybe", "3"),
    "jit": ("no_such", "", "3"),
}
# `peers` is looked at by what knows the libraries (the test below), `output_dir` is a place.
OTHER_FLAGS = {"peers", "output_dir"}
REFUSALS = """
import importlib, json, sys
from absl import flags
from benchmarks.timing import program
from trainers import program as shared

defined_by = flags.FLAGS.find_module_defining_flag
known = {name for name in flags.FLAGS if defined_by(name).startswith("benchmarks")}
said = {}
for flag, values in json.loads(sys.argv[1]).items():
    for value in values:
        flags.FLAGS.unparse_flags()
        try:
            shared.parsed(["benchmark", f"--{flag}={value}"])
        except shared.SetupError as error:
            said[f"{flag}={value}"] = str(error)
print(json.dumps([sorted(known), said]))
"""


def test_a_bad_flag_of_a_benchmark_is_refused_in_one_line_that_names_it(run):
    status, out, err = run(None, json.dumps(BAD_FLAGS), text=REFUSALS)
    assert status == 0, err[-2000:]
    known, said = json.loads(out.splitlines()[-1])
    assert set(known) == set(BAD_FLAGS) | OTHER_FLAGS
    for flag, values in BAD_FLAGS.items():
        for value in values:
            line = said[f"{flag}={value}"]
            assert re.match(rf"flag --{flag}=.*: must be [^.]", line), line
            assert "\n" not in line


def test_help_lists_the_flags():
    # As it is started in a shell.
    words = [sys.executable, "-m", "benchmarks.training", "--help"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0
    for flag in {*BAD_FLAGS, *OTHER_FLAGS}:
        assert f"--{flag}" in done.stdout


def test_a_library_that_is_unknown_or_not_there_is_refused(run):
    status, _, err = run("benchmarks.training", "--smoke", "--peers=brian")
    assert status == 2
    assert err.strip().splitlines()[-1] == (
        "error: flag --peers=brian: must be of spikingjelly, snntorch, norse."
    )
    missing = [name for name in contenders.PEERS if not contenders.installed(name)]
    for name in missing[:1]:
        status, _, err = run("benchmarks.training", "--smoke", f"--peers={name}")
        assert status == 2
        assert "it is not installed" in err.strip().splitlines()[-1]
