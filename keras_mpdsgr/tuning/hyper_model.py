"""MPD-SGR's hyperparameters as a KerasTuner search: what is built, trained and measured."""

import warnings

import keras
import keras_tuner
import numpy as np

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.tuning.objective import RobustObjective
from keras_mpdsgr.tuning.search_space import SearchSpace


class MPDSGRHyperModel(keras_tuner.HyperModel):
    """Builds a network for each eta and gamma, trains it and measures its robustness.

    For any tuner of KerasTuner: `tuner.search(x, y, epochs=...)` with `objective.tuner_objective`
    as its objective. All trials start from the same seed, so that they differ in what is searched
    alone. Subclass it to build or train in another way: override `build(hp)` or `fit(hp, model)`,
    ask `self.space.values(hp)` for the values, and call this class's `fit` for the rest.

    Args:
        objective: A `RobustObjective`.
        make_model: Function from `eta=` and `gamma=` (and `tau=`, `surrogate=` where they are
            searched) to a compiled Keras model. None where a subclass overrides `build`.
        space: The `SearchSpace`; None for its defaults.
        seed: Of every trial.

    Raises:
        ValueError: If an argument is none of these.

    Example:

    >>> import tempfile
    >>> from keras_mpdsgr import models
    >>> from keras_mpdsgr.tuning import RobustObjective
    >>> def make_model(eta, gamma):
    ...     model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02, eta=eta, gamma=gamma)
    ...     model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ...     return model
    >>> x, y = np.full((20, 8, 8, 1), 0.5, "float32"), np.arange(20) % 10
    >>> search, folder = MPDSGRHyperModel(RobustObjective(x, y), make_model), tempfile.mkdtemp()
    >>> tuner = keras_tuner.RandomSearch(
    ...     search, search.objective.tuner_objective, max_trials=8, directory=folder
    ... )
    >>> [hp.name for hp in tuner.oracle.get_space().space]
    ['eta', 'gamma']
    """

    def __init__(self, objective, make_model=None, space=None, seed=0):
        super().__init__()
        if not isinstance(objective, RobustObjective):
            raise ValueError(f"`objective` must be a RobustObjective. Received: {objective!r}.")
        if not (make_model is None or callable(make_model)):
            raise ValueError(f"`make_model` must be a function or None. Received: {make_model!r}.")
        if not isinstance(space, SearchSpace | None):
            raise ValueError(f"`space` must be a SearchSpace or None. Received: {space!r}.")
        self.objective = objective
        self.make_model = make_model
        self.space = SearchSpace() if space is None else space
        self.seed = check_integer("seed", seed, least=0)

    def build(self, hp):
        if self.make_model is None:
            raise ValueError("`make_model` must be given, or `build` be overridden.")
        keras.utils.set_random_seed(self.seed)
        return self.make_model(**self.space.values(hp))

    def fit(self, hp, model, *args, **kwargs):
        """Trains a model and measures it.

        Args:
            hp: The trial's `keras_tuner.HyperParameters`.
            model: What `build` has returned.
            *args, **kwargs: Those of `model.fit`.

        Returns:
            What `objective.measure` gives. A training whose loss or weights are not finite is
            stopped and given `objective.failure()`.
        """
        keras.utils.set_random_seed(self.seed)
        watch = _StopWithoutNumbers()
        model.fit(*args, **{**kwargs, "callbacks": [*kwargs.get("callbacks", ()), watch]})
        if watch.stopped or not all(np.isfinite(weight).all() for weight in model.get_weights()):
            self.say_failure("its loss or weights are not finite")
            return self.objective.failure()
        measured = self.objective.measure(model)
        if measured["failed"]:
            self.say_failure(
                f"the network is dead: right on {measured['clean']:.1%} of the clean images, no "
                "more than by naming the commonest class"
            )
        return measured

    def say_failure(self, reason):
        """Says why a trial counts as failed; a warning here."""
        warnings.warn(f"The trial has failed: {reason}.", stacklevel=2)


class _StopWithoutNumbers(keras.callbacks.Callback):
    """Ends a training after the first epoch whose loss is not finite."""

    def __init__(self):
        super().__init__()
        self.stopped = False

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            self.stopped = True
            self.model.stop_training = True
