"""What attacks on a `.keras` file have left, read back."""

import pathlib

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.model_file import SUFFIX, ModelFile
from keras_mpdsgr.experiments.results import HasResults, read


class ModelResults(HasResults):
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
        self.result_folders = [self.results]
        if not any(self.read_results()):
            raise SetupError(
                f"{path} has no results in {self.results}. Attack it: python -m trainers.attack "
                f"--model_file={path} --dataset=NAME --suite=strongest. Where results went to a "
                "`results_dir`, name that folder."
            )

    @classmethod
    def lie_in(cls, path):
        """Whether there is a `.keras` file, or a folder that holds results alone, at a path."""
        path = pathlib.Path(path)
        return (path.suffix == SUFFIX and path.is_file()) or any(read([path])[:2])
