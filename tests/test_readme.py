"""The README's examples run as they stand there."""

import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


EXAMPLES = re.findall(r"```python\n(.+?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)

ON_FEW_IMAGES = """
import functools
from keras_mpdsgr import data
data.load = functools.partial(data.load, limit_train=320, limit_test=40)
"""


def printed(example, folder):
    result = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=folder, timeout=300
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_the_keras_example_trains_and_is_attacked():
    shown = printed(ON_FEW_IMAGES + EXAMPLES[0], REPOSITORY)
    assert "'sapgd'" in shown.splitlines()[-1]
    assert "omega" in shown
    assert "firing_rate" in shown


def test_ten_lines_train_stop_go_on_attack_and_compare(shallow, run, tmp_path):
    status, shown, err = run(None, text=EXAMPLES[1], folder=tmp_path)
    assert status == 0, err[-2000:]
    assert len(EXAMPLES[1].strip().splitlines()) <= 11  # ten and a blank one
    assert "stopped after epoch 1 of 2" in shown
    assert "resuming after epoch 1" in shown
    *_, numbers, command = shown.splitlines()
    ours, control, p = map(float, numbers.split())
    assert 0 <= ours <= 1 and 0 <= control <= 1 and 0 <= p <= 1
    assert command.startswith("python -m trainers.cifar --dataset=digits --run_dir=runs/digits-")
    assert len(list((tmp_path / "runs").glob("*/results/sapgd.json"))) == 2
