"""`python -m trainers.attack --dry_run` on the model that comes with the project."""

import pathlib
import shutil

from keras_mpdsgr import experiments

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "saved_models" / "digits"


def test_a_dry_run_lists_the_attacks_and_attacks_nothing(tmp_path, capsys):
    folder = pathlib.Path(shutil.copytree(DIGITS, tmp_path / "digits"))
    config = experiments.AttackConfig(
        run_dir=folder, attacks=("fgsm", "apgd"), limit=20, batch_size=10, dry_run=True
    )
    assert experiments.attack(config) is None
    lines = capsys.readouterr().out.splitlines()
    assert "attacks on 20 images" in lines[0]
    (apgd,) = (line for line in lines if "apgd" in line)
    assert " 101 " in apgd
    assert not (folder / "results").exists()
