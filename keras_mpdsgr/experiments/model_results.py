"""What attacks on a `.keras` file have left, read back."""

import functools
import pathlib

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import results
from keras_mpdsgr.experiments.model_file import SUFFIX, ModelFile


class ModelResults:
    """What attacks on a `.keras` file have left; what `Run` has of these, it has too.

    Args:
        path: The folder, or the file beside whose results are.

    Attributes:
        path, results: The folder, a `pathlib.Path`.

    Raises:
        SetupError: If there are no results.
    """

    def __init__(self, path):
        path = pathlib.Path(path)
        self.results = self.path = ModelFile(path, None).results if path.is_file() else path
        if not any((*self.reports(), *self.sweeps(), *self.unread)):
            raise SetupError(
                f"{path} has no results in {self.results}. Attack it: python -m trainers.attack "
                f"--model_file={path} --dataset=NAME --suite=strongest. Where results went to a "
                "`results_dir`, name that folder."
            )

    @classmethod
    def lie_in(cls, path):
        """Whether there is a `.keras` file, or a folder that holds results alone, at a path."""
        path = pathlib.Path(path)
        return (path.suffix == SUFFIX and path.is_file()) or any(results.read([path])[:2])

    @functools.cached_property
    def _read(self):
        return results.read([self.results])

    def reports(self):
        """Its `evaluation.Report`s by name."""
        return self._read[0]

    def sweeps(self):
        """Its `evaluation.Sweep`s by name."""
        return self._read[1]

    @property
    def unread(self):
        """Why a JSON file is neither report nor sweep here, by the file's name."""
        return self._read[2]
