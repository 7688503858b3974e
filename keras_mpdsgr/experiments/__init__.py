"""Experiments: a typed configuration, training that can be interrupted anywhere, runs read back.

What needs no TensorFlow is imported eagerly, so that programs answer wrong flags quickly.
"""

from keras_mpdsgr.errors import RunError, SetupError
from keras_mpdsgr.experiments.attack_config import AttackConfig
from keras_mpdsgr.experiments.config import ExperimentConfig
from keras_mpdsgr.experiments.recipes import recipe
from keras_mpdsgr.experiments.run import Run

__all__ = [
    "AttackConfig",
    "ExperimentConfig",
    "Run",
    "RunError",
    "SetupError",
    "attack",
    "predict",
    "recipe",
    "train",
]


def train(config, attack=True, until_epoch=None, verbose=True):
    """Trains by a configuration or resumes its training, evaluates, and prints the table.

    The same call resumes from the last checkpoint, or shows that the run is done.

    Args:
        config: An `ExperimentConfig`.
        attack: Whether the model is attacked at the end; without, there is no table.
        until_epoch: Stops after this epoch, to be resumed by another call; None for the last.
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
    """Attacks a trained model, prints the table and writes the report.

    It goes to results/ in the run folder; that of a `.keras` file to a folder beside it, named
    after it ("net-results" for net.keras), or to the configuration's `results_dir`.

    Results are kept sample by sample as they come: the same call resumes where it stopped.

    Args:
        config: An `AttackConfig`.
        verbose: Whether progress and tables are shown.

    Returns:
        The `evaluation.Report`, which is among `Run(config.run_dir).reports()` too; None for a
        `dry_run`.

    Raises:
        SetupError: If there is no trained model in `run_dir`, that of `model_file` does not fit the
            data set, or a name is not known. It is a `ValueError`.
        RunError: If it fails while running. It is a `RuntimeError`.
    """
    from keras_mpdsgr.experiments import attacking

    return attacking.attack(config, verbose)


def predict(model, paths, top=1, attack=None, eps=8 / 255, output=None, seed=0):
    """Classifies image files by a trained model, and says whether an attack changes the answers.

    Images are read as `data.read_images` does, which is how training reads them. An attack takes
    the model's own prediction as the label, right or wrong: what it tells is whether the answer can
    be changed, not whether it is true. A model that is random at inference is asked 11 times, and
    its probabilities are averaged.

    Args:
        model: A run folder, a `.keras` file, the name of a saved model (`models.available()`), or a
            Keras model of pixels in [0, 1].
        paths: A path or several, of image files and of folders of them, as of `data.image_paths`.
        top: Number of classes shown for each image, at least 1.
        attack: None, the name of an attack such as `"sapgd"`, or an `Attack`.
        eps: Radius of the L-infinity ball of a named attack, in units of pixels scaled to [0, 1].
        output: Folder for the adversarial images, as PNG files at the nearest 8-bit levels. Not all
            that mislead the model do so after rounding: `rounded_flipped` tells. None writes none.
        seed: Of the attack, and of a random model's draws.

    Returns:
        A list of `Prediction`, in the order of `data.image_paths(paths)`.

    Raises:
        SetupError: If an argument is out of its range, there is no such model, or an image cannot
            be read. It is a `ValueError`.
        RunError: If an image cannot be written. It is a `RuntimeError`.

    Example:

    >>> import tempfile, keras
    >>> from keras_mpdsgr import data
    >>> digits = data.load("digits", limit_test=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keras.utils.save_img(f"{folder}/digit.png", digits.x_test[0], scale=False)
    ...     (answer,) = predict("digits", folder)
    >>> answer.class_name == str(digits.y_test[0])
    True
    """
    from keras_mpdsgr.experiments import predicting

    return predicting.predict(model, paths, top, attack, eps, output, seed)
