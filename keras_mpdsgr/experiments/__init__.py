"""Experiments: a typed configuration, training that can be cut off anywhere, runs read back.

What needs no TensorFlow is imported at once, so that programs answer wrong flags quickly.
"""

from keras_mpdsgr.errors import RunError, SetupError
from keras_mpdsgr.experiments.config import AttackConfig, ExperimentConfig
from keras_mpdsgr.experiments.recipes import recipe
from keras_mpdsgr.experiments.run import Run

__all__ = [
    "AttackConfig",
    "ExperimentConfig",
    "Run",
    "RunError",
    "SetupError",
    "attack",
    "recipe",
    "train",
]


def train(config, attack=True, until_epoch=None, verbose=True):
    """Trains by a configuration, or goes on with it, evaluates, and prints the table.

    The same call goes on from the last checkpoint, or shows that the run is done.

    Args:
        config: An `ExperimentConfig`.
        attack: Whether the model is attacked at the end; without, there is no table.
        until_epoch: Stops after this epoch, to go on by another call; None for the last.
        verbose: Whether progress and table are shown.

    Returns:
        The `Run`.

    Raises:
        SetupError: If the configuration cannot be trained, data are missing, or the run folder
            holds another experiment. It is a `ValueError`.
        RunError: If it fails while running, such as by a full disk. It is a `RuntimeError`.
    """
    from keras_mpdsgr.experiments import training

    return training.train(config, attack, until_epoch, verbose)


def attack(config, verbose=True):
    """Attacks a trained model, prints the table and writes the report to the run folder.

    Results are kept sample by sample as they come: the same call goes on where it was cut off.

    Args:
        config: An `AttackConfig`.
        verbose: Whether progress and tables are shown.

    Returns:
        The `evaluation.Report`, which is among `Run(config.run_dir).reports()` too; None for a
        `dry_run`.

    Raises:
        SetupError: If there is no trained model in `run_dir`, or a name is not known. It is a
            `ValueError`.
        RunError: If it fails while running. It is a `RuntimeError`.
    """
    from keras_mpdsgr.experiments import attacking

    return attacking.attack(config, verbose)
