"""MPD-SGR: Omega in the loss of a whole model, and its warm-up (Jiang et al., 2026, Eq. 16-18)."""

import keras

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_integer, check_model
from keras_mpdsgr.defenses.base import Defense, register
from keras_mpdsgr.layers import LIFLayer
from keras_mpdsgr.layers.omega import check_regularization


def spiking_layers(model):
    """All `LIFLayer`s of a model, nested ones too.

    Raises:
        ValueError: If there is none.
    """
    check_model("model", model)
    found = [x for x in keras_internals.all_layers(model) if isinstance(x, LIFLayer)]
    if not found:
        raise ValueError(f"`model` must hold at least one LIFLayer. Received: {model.name!r}.")
    return found


def set_regularization(model, eta, half_width=None, form="batch"):
    """Sets the weight of Omega in the loss of a whole model.

    The loss becomes `task + eta * mean over layers, channels and time of Omega`: each of the L
    layers of neurons gets `eta / L`, and inside a layer the mean runs over time and channels (and
    over calls, where the model calls a layer several times). It holds from the next `fit` on, of
    the model and of any Keras model around it; a `tf.function` of your own traces its first state.

    Args:
        model: A Keras model with `LIFLayer`s.
        eta: Weight of the mean Omega, not negative; 0 switches it off.
        half_width: Half-width of the window that is counted; None for each surrogate's own.
        form: `"batch"`, `"analytic"`, `"scale_free"` or `"sample"`, as `LIFLayer`'s `omega_form`.

    Returns:
        What was set: a dictionary from layer name to that layer's share of `eta`.

    Raises:
        ValueError: If the model has no `LIFLayer` or an argument is out of its range.

    Example:

    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> set_regularization(model, eta=0.5)["conv1_lif"]
    0.05
    """
    found = spiking_layers(model)
    eta, form, half_width = check_regularization(eta, form, half_width, "form")
    share = eta / len(found)
    for layer in found:
        layer.eta, layer.omega_form, layer.half_width = share, form, half_width
    return {layer.name: share for layer in found}


@register
class MPDSGR(Defense):
    """MPD-SGR (Jiang et al., 2026): the mean Omega over the network in the loss, Eq. 16-18.

    Args:
        eta: Weight of the mean Omega, not negative. The paper's values were not found.
        omega_form: `"batch"`, `"analytic"`, `"scale_free"` or `"sample"`, as of `LIFLayer`.
        half_width: Half-width of the window that is counted; None for each surrogate's own.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> MPDSGR(eta=0.5).model_options(timesteps=8)
    {'eta': 0.5, 'omega_form': 'batch'}
    """

    name = "mpd_sgr"
    needs_spikes = True

    def __init__(self, eta=0.05, omega_form="batch", half_width=None):
        checked = check_regularization(eta, omega_form, half_width)
        self.eta, self.omega_form, self.half_width = checked

    def model_options(self, timesteps):
        options = {"eta": self.eta, "omega_form": self.omega_form}
        if self.half_width is not None:
            options["half_width"] = self.half_width
        return options

    def callbacks(self, total_steps, warmup_steps=0):
        return [EtaWarmup(warmup_steps)]


class EtaWarmup(keras.callbacks.Callback):
    """Raises the weight of Omega linearly from 0 to its full value over the first steps.

    So it does for every layer with an `eta_factor`: `LIFLayer` and `FiringRatePenalty`.

    In full from the first step, a large eta drives all potentials out of the surrogate's window
    before the network has learned anything, and no gradient is left to learn by. The factor is a
    function of `optimizer.iterations` alone, so that a resumed training continues exactly. It is in
    force during a step alone. (Steps that `steps_per_execution` runs together have that of the
    first.)

    Args:
        steps: Number of optimizer steps to full weight; 0 for none.

    Raises:
        ValueError: If `steps` is negative.
    """

    def __init__(self, steps):
        super().__init__()
        self.steps = check_integer("steps", steps, "optimizer steps", least=0)
        self._factor = 1.0

    def factor(self, iterations):
        """Share of the full weight at an optimizer step, in [0, 1]."""
        return 1.0 if self.steps == 0 else min(1.0, iterations / self.steps)

    def on_train_begin(self, logs=None):
        spiking_layers(self.model)
        layers = keras_internals.all_layers(self.model)
        self._layers = [layer for layer in layers if hasattr(layer, "eta_factor")]
        # Not left to the training's end, which an error or Ctrl-C may keep from coming.
        keras_internals.after_failing_batch_begin(self, lambda: self._set(1.0))

    def on_train_batch_begin(self, batch, logs=None):
        factor = self.factor(int(self.model.optimizer.iterations.numpy()))
        if factor != self._factor:
            self._set(factor)
        if factor < 1.0:
            keras_internals.after_next_step(self.model, lambda: self._set(1.0))

    def on_train_end(self, logs=None):
        self._set(1.0)

    def _set(self, factor):
        self._factor = factor
        for layer in self._layers:
            layer.eta_factor.assign(factor)
