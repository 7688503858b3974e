"""A `.keras` file that no run has trained, attacked on the test images of a data set."""

import functools
import pathlib

import numpy as np

from keras_mpdsgr import data, defenses, models, surrogates
from keras_mpdsgr.errors import SetupError, setup_errors
from keras_mpdsgr.inputs import check_fits, check_scores

SUFFIX = ".keras"


class ModelFile:
    """A model and the data set that it is attacked on; what `Run` has of these, it has too.

    Args:
        path: The `.keras` file.
        dataset: Name of the data set.
        results: Folder of the results; None for one beside the file, named after it.

    Attributes:
        path, results: As `Run` has them.
    """

    def __init__(self, path, dataset, results=None):
        self.path = pathlib.Path(path)
        name = self.path.name.removesuffix(SUFFIX)
        self.results = pathlib.Path(results or self.path.with_name(f"{name}-results"))
        self._dataset = dataset

    @classmethod
    def checked(cls, path, dataset, results=None):
        """As the class, for a file that is there.

        Raises:
            SetupError: If it is not.
        """
        file = cls(path, dataset, results)
        if file.path.is_dir():
            raise SetupError(
                f"`model_file` must be a .keras file. Received: {path}, a folder. That of a "
                "training is given by `run_dir`."
            )
        if not file.path.is_file():
            raise SetupError(f"`model_file` must be a .keras file; there is none at {path}.")
        if file.results.exists() and not file.results.is_dir():
            raise SetupError(
                f"the folder of results {file.results} is a file. Name another by `results_dir`."
            )
        return file

    def import_parts(self):
        """Loads installed plug-ins, whose layers the model may have."""
        for registry in (defenses, surrogates):
            registry.names()

    @functools.cached_property
    def _model(self):
        with setup_errors():
            return models.load_to_judge(self.path)

    def model(self):
        """The Keras model.

        Raises:
            SetupError: If it cannot be loaded.
        """
        return self._model

    def images(self, data_dir=None, **limits):
        """The data set, an `ImageData` that the model has been found to fit.

        Args:
            data_dir: Folder of the data sets.
            **limits: `limit_train` and `limit_test`, as of `data.load`.

        Raises:
            SetupError: If it cannot be loaded, or the model takes other images, tells another
                number of classes, or has the data set's classes in another order.
        """
        model = self._model
        with setup_errors():
            images = data.load(self._dataset, data_dir, **limits, image_size=self._image_size())
        self._check_fits(model, images)
        return images

    def _image_size(self):
        """Images of the data set folder are resized to what the model takes."""
        taken = getattr(self._model, "input_shape", None)
        if self._dataset != "folder" or not isinstance(taken, tuple) or len(taken) != 4:
            return None
        return None if None in taken[1:3] else taken[1:3]

    def _check_fits(self, model, images):
        where = f"{self.path} does not fit the data set {images.name}: "
        x = data.to_pixels(images.x_test[:1])
        try:
            check_fits(model, x)
            classes = check_scores(model(x, training=False)).shape[-1]
        except Exception as error:  # a model of another's may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SetupError(where + reason) from error
        if classes != images.num_classes:
            raise SetupError(
                f"{where}it must tell the {images.num_classes} classes of the data set. "
                f"Received: a model of {classes} classes."
            )
        names = tuple(getattr(model, "class_names", ()))
        if sorted(names) == sorted(images.class_names) and names != tuple(images.class_names):
            first = int(np.argmax(np.array(names) != np.array(images.class_names)))
            raise SetupError(
                f"{where}its classes are in another order. Received: class {first} is "
                f"{names[first]}, and {images.class_names[first]} in the data set."
            )
