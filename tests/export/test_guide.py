"""The examples of docs/export.md run as they stand there."""

import pathlib
import re

import pytest

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "export.md"


def test_the_guides_examples_run(tmp_path, monkeypatch, capsys):
    for package in ("nir", "onnx", "tf2onnx"):
        pytest.importorskip(package, reason=f"needs the package {package}")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.+?)```", GUIDE.read_text(), re.S)
    assert len(blocks) == 6
    exec(compile("\n".join(blocks), str(GUIDE), "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"saved_model", "model.onnx", "model.nir"}
    assert "of the ANN's energy" in capsys.readouterr().out
