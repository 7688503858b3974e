"""What TensorFlow says at its start stays off the screen; its errors and a crash do not."""

import os
import subprocess
import sys

import pytest

WRITES = """
import os, sys
from trainers import start_up
start_up.quieten()
for line in (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1.5 7 port.cc:153] oneDNN custom operations are on. You may see slightly",
    "E0000 00:00:1.5 7 util.cc:131] oneDNN supports DT_INT32 only on platforms with AVX-512.",
    "E0000 00:00:1.5 7 gpu.cc:1] failed to allocate 2.00G from device: CUDA_ERROR_OUT_OF_MEMORY",
):
    os.write(2, line.encode() + b"\\n")
print("said by Python", file=sys.stderr)
{then}
"""
CRASH = 'os.write(2, b"F0000 check failed\\n"); os.abort()'


@pytest.mark.parametrize("then, status", [("", 0), (CRASH, -6)])
def test_lines_that_are_no_errors_are_taken_out_and_all_others_shown(then, status, pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", WRITES.format(then=then)],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status
    shown = sorted(done.stderr.splitlines())
    assert shown[0].startswith("E0000") and shown[0].endswith("CUDA_ERROR_OUT_OF_MEMORY")
    assert shown[1:] == (["F0000 check failed"] if then else []) + ["said by Python"]


PROGRAM = """
import os
from trainers import program
def main():
    {text}
    print("done")
program.run(main, "")
"""
LINE = "I0000 00:00:1.5 7 port.cc:153] oneDNN custom operations are on."


@pytest.mark.parametrize(
    "text, words, shown",
    [
        ("import tensorflow as tf; tf.config.list_physical_devices()", (), ""),
        (f"os.write(2, b'{LINE}\\n')", (), ""),
        (f"os.write(2, b'{LINE}\\n')", ("--debug",), f"{LINE}\n"),
    ],
)
def test_a_program_starts_without_a_line_unless_debug(text, words, shown, pytestconfig):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(text=text), *words],
        cwd=pytestconfig.rootpath,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", shown)


def test_the_library_alone_leaves_standard_error_to_its_user(pytestconfig):
    text = "import os, sys; a = os.fstat(2).st_ino; import keras_mpdsgr.experiments.fields; "
    text += "assert os.fstat(2).st_ino == a and 'TF_CPP_MIN_LOG_LEVEL' not in os.environ"
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment["KERAS_MPDSGR_IMPORT"] = "lazy"
    subprocess.run(
        [sys.executable, "-c", text], cwd=pytestconfig.rootpath, env=environment, check=True
    )
