"""The README's example runs as it stands there."""

import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def test_the_keras_example_trains_and_is_attacked(tmp_path):
    (example,) = re.findall(r"```python\n(.+?)```", (REPOSITORY / "README.md").read_text(), re.S)
    result = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=REPOSITORY, timeout=300
    )
    assert result.returncode == 0, result.stderr[-2000:]
    printed = result.stdout.splitlines()[-1]
    assert "'sapgd'" in printed
    assert "omega" in result.stdout
    assert "firing_rate" in result.stdout
