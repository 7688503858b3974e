"""Leaky integrate-and-fire neurons as a Keras layer, with Omega as their regularizer."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_mpdsgr import dynamics, keras_internals, surrogates
from keras_mpdsgr.arguments import check_choice, check_flag, check_number
from keras_mpdsgr.layers.arguments import check_sequence, warn_of_image
from keras_mpdsgr.layers.call_losses import add_call_loss, count_calls
from keras_mpdsgr.layers.learned import add_leak, add_log_gamma
from keras_mpdsgr.layers.omega import (
    check_eta,
    check_form,
    check_half_width,
    layer_omega,
    moments_of_form,
    sample_omega,
)
from keras_mpdsgr.layers.penalties import check_membrane_regularizer
from keras_mpdsgr.layers.traces import TracedSettings
from keras_mpdsgr.layers.tracking import TrainingMean


@keras.saving.register_keras_serializable("keras_mpdsgr")
class LIFLayer(TracedSettings, keras.layers.Layer):
    """Leaky integrate-and-fire neurons, unrolled over time, trained by surrogate gradients.

    At each time step `u(t) = tau * (u(t-1) - r(t-1)) + I(t)`, and a neuron fires, `s(t) = 1`, where
    `u(t) >= v_threshold` (Jiang et al., 2026, Eq. 1-4). The whole window is one custom gradient:
    BPTT through the unrolled dynamics (Eq. 5-7), or another backward inside `gradient_mode`.

    With `eta > 0` the layer adds `eta * mean over t and c of Omega` to the loss in training, Omega
    being the share of its membrane potentials inside the surrogate's window (Eq. 16); where a model
    calls the layer several times, the mean over the calls, as it is shown. For the mean
    over layers of Eq. 17, `set_regularization(model, eta)` gives each of a model's layers its part.

    Args:
        tau: Leak factor in [0, 1]; 1 keeps all (integrate-and-fire).
        v_threshold: Firing threshold, positive, in units of membrane potential.
        reset: `"hard"` (to 0) or `"soft"` (subtracts the threshold).
        surrogate: Surrogate gradient: a name of `surrogates.names()` or a `Surrogate`.
        gamma: Width of a named surrogate's window, positive, in units of membrane potential. With a
            surrogate object: None, as the object has its own.
        detach_reset: Whether the gradient is kept out of the reset.
        eta: Weight of this layer's Omega in the loss, not negative.
        omega_form: `"batch"` (moments of the potentials, per time step), `"analytic"` (from the
            moments of the input current, by a recursion), `"scale_free"` (as `"batch"`, the window
            counted in standard deviations) or `"sample"` (the mean of `max(0, 1 - |v| / (kappa
            sigma))` over all potentials, v = u - v_threshold, sigma the standard deviation of u
            over batch and space at each time step and channel, kappa the half-width).
        half_width: Half-width of the window that Omega counts, positive; None for the surrogate's
            own. In units of membrane potential; for `"scale_free"` and `"sample"` in standard
            deviations.
        track_omega: Whether Omega is computed and shown in training even where `eta` is 0.
        constant_input: Whether all time steps get the same current, as the first layer behind
            direct coding does; only the form `"analytic"` asks.
        learn_tau: None for a fixed leak; `"layer"` learns one factor for the layer, `"time"` one
            for each time step (FEEL, Xu et al., 2024). They start at `tau` and stay in [0, 1].
        learn_gamma: Whether the width of the surrogate's window is learned, one for the layer, as
            `exp(log_gamma)` (a learnable surrogate gradient; Lian et al., 2023, who let the width
            follow a learned leak, for which see `learn_tau`). Its gradient is that of a spike
            smoothed to F(v / gamma), F' = h_1. The window that Omega counts follows it, but gives
            it no gradient: a window that shrinks would lower Omega and change no potential.
        stateful: Whether the membrane potential is kept from one call to the next (`reset_state`
            clears it), for streams cut into windows. Needs a static batch size.
        membrane_regularizer: A `keras.regularizers.Regularizer`, called in training with
            v = u - v_threshold, `(batch, time, ...)`, in single precision or better; the scalar
            that it gives is added to the loss. None for none.
        **kwargs: Those of `keras.layers.Layer`. Under mixed precision the membrane stays float32.

    Input shape: `(batch, time, ...)`, floating point, at least 3 axes, `time` static. Where a batch
        of images is given in its place, four axes of which the second and the third are equal and
        longer than 8, the layer warns when it is built.
    Output shape: the same; spikes, zeros and ones.

    Raises:
        ValueError: If an argument is out of its range, or the input is of another shape or dtype.

    Example:

    >>> import keras
    >>> spikes = LIFLayer(tau=0.5)(keras.ops.ones((1, 3, 2)) * 0.7)
    >>> spikes[0, :, 0].numpy().tolist()
    [0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        tau=1.0,
        v_threshold=1.0,
        reset="hard",
        surrogate="triangle",
        gamma=None,
        detach_reset=False,
        eta=0.0,
        omega_form="batch",
        half_width=None,
        track_omega=False,
        stateful=False,
        constant_input=False,
        learn_tau=None,
        learn_gamma=False,
        membrane_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tau, self.v_threshold, self.reset = tau, v_threshold, reset
        self.surrogate = surrogates.get(surrogate, **({} if gamma is None else {"gamma": gamma}))
        self.detach_reset = detach_reset
        self.eta, self.omega_form, self.half_width = eta, omega_form, half_width
        self.track_omega, self.constant_input = track_omega, constant_input
        self.stateful, self.learn_tau, self.learn_gamma = stateful, learn_tau, learn_gamma
        self.membrane_regularizer = membrane_regularizer
        self.omega_tracker = TrainingMean(name="omega")
        self.firing_rate_tracker = TrainingMean(name="firing_rate")
        # Not a weight: loading weights must not change how far a warm-up has come.
        self.eta_factor = tf.Variable(1.0, trainable=False, name="eta_factor")
        count_calls(self)
        self._membrane: Any = None
        self.leak: Any = None
        self.log_gamma: Any = None

    def check_setting(self, name, value):
        if self.built and name in _FIXED:
            raise ValueError(
                f"`{name}` of a LIFLayer is fixed once it is built, with its variables. "
                f"Received: {name}={value!r} for {self.name!r}. Build another layer."
            )
        if self.built and name == "tau" and self.learn_tau:
            raise ValueError(
                f"`tau` is learned by {self.name!r}: assign its weight, `layer.leak`. "
                f"Received: tau={value!r}."
            )
        return _CHECKS[name](value) if name in _CHECKS else value

    @property
    def neuron(self):
        """The constants of the neurons, a `dynamics.Neuron`."""
        return dynamics.Neuron(self.v_threshold, self.reset, self.detach_reset)

    def build(self, input_shape):
        check_sequence(self, input_shape)
        warn_of_image(self, input_shape)
        if self.stateful:
            shape = (input_shape[0], *input_shape[2:])
            if None in shape:
                raise ValueError(
                    "`stateful=True` needs a static batch size and feature shape, as in "
                    f"`keras.Input(batch_shape=...)`. Received: input_shape={tuple(input_shape)}."
                )
            dtype = "float64" if self.compute_dtype == "float64" else "float32"
            self._membrane = tf.Variable(tf.zeros(shape, dtype), trainable=False, name="membrane")
        if self.learn_tau:
            shape = () if self.learn_tau == "layer" else (input_shape[1],)
            self.leak = add_leak(self, self.tau, shape)
        if self.learn_gamma:
            self.log_gamma = add_log_gamma(self, self.surrogate.gamma)
        self.built = True

    @property
    def undecayed(self):
        """Weights that weight decay must leave alone: it would add leak, or draw gamma to 1."""
        return [weight for weight in (self.leak, self.log_gamma) if weight is not None]

    def compute_output_spec(self, inputs, training=None):
        _check_floating(inputs)
        return super().compute_output_spec(inputs, training=training)

    def call(self, inputs, training=None):
        _check_floating(inputs)
        self._check_batch(inputs)
        self.note_trace()
        wants_omega = bool(training) and (self.eta > 0 or self.track_omega)
        regularizer = self.membrane_regularizer if training else None
        tau = self.tau if self.leak is None else tf.convert_to_tensor(self.leak)
        gamma = None if self.log_gamma is None else tf.exp(tf.convert_to_tensor(self.log_gamma))
        window = dynamics.lif(
            inputs,
            self.surrogate,
            tau=tau,
            neuron=self.neuron,
            moments=moments_of_form(self.omega_form) if wants_omega else None,
            initial=self._membrane,
            name=self.name,
            gamma=gamma,
            training=bool(training),
            membranes=regularizer is not None or (wants_omega and self.omega_form == "sample"),
        )
        if self.stateful:
            self._membrane.assign(window.residual)
        added = []
        if wants_omega:
            omega = self._omega(window, inputs.shape[1], tau, gamma)
            added += [self.eta * omega] if self.eta > 0 else []
        if regularizer is not None:
            added.append(regularizer(window.membranes - self.v_threshold))
        if added:
            loss = tf.add_n(added)
            add_call_loss(self, tf.cast(self.eta_factor, loss.dtype) * loss)
        samples = tf.shape(inputs)[0]
        self.omega_tracker.observe(omega if wants_omega else None, wants_omega, samples)
        rate = tf.reduce_mean(tf.cast(window.spikes, tf.float32)) if training else None
        self.firing_rate_tracker.observe(rate, bool(training), samples)
        return window.spikes

    def _check_batch(self, inputs):
        if self.stateful and inputs.shape[0] != self._membrane.shape[0]:
            raise keras_internals.plain_error(
                f"`stateful=True` keeps the potentials of {self._membrane.shape[0]} samples: all "
                "batches must be known to hold as many. Received: a batch of "
                f"{inputs.shape[0] or 'unknown size'}. Use a `batch_size` that divides the data or "
                "leave the rest out by Dataset.batch(..., drop_remainder=True)."
            )

    def _omega(self, window, timesteps, tau, gamma):
        surrogate = self.surrogate
        if gamma is not None:
            surrogate = surrogate.with_width(tf.stop_gradient(gamma))
        half_width = self.half_width or surrogate.half_width
        if self.omega_form == "sample":
            return sample_omega(window.membranes, window.variance, half_width, self.v_threshold)
        return layer_omega(
            window.mean,
            window.variance,
            form=self.omega_form,
            half_width=half_width,
            neuron=self.neuron,
            tau=tau,
            timesteps=timesteps,
            constant_input=self.constant_input,
        )

    def reset_state(self):
        """Sets the kept membrane potential of a stateful layer to zero."""
        if self._membrane is not None:
            self._membrane.assign(tf.zeros_like(self._membrane))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = super().get_config()
        config.update(
            tau=self.tau,
            v_threshold=self.v_threshold,
            reset=self.reset,
            surrogate=keras.saving.serialize_keras_object(self.surrogate),
            detach_reset=self.detach_reset,
            eta=self.eta,
            omega_form=self.omega_form,
            half_width=self.half_width,
            track_omega=self.track_omega,
            stateful=self.stateful,
            constant_input=self.constant_input,
            learn_tau=self.learn_tau,
            learn_gamma=self.learn_gamma,
            membrane_regularizer=keras.regularizers.serialize(self.membrane_regularizer),
        )
        return config

    @classmethod
    def from_config(cls, config):
        if "go_backwards" in config:
            raise ValueError(
                f"{cls.__name__} runs forwards in time: a membrane potential has no future. "
                "Received: `go_backwards`, as keras.layers.Bidirectional sets it. Use the layer "
                "without."
            )
        return super().from_config(config)


_FIXED = ("stateful", "learn_tau", "learn_gamma")
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "tau": lambda value: check_number("tau", value, "leak factor", least=0, most=1),
    "v_threshold": lambda value: check_number("v_threshold", value, "firing threshold", above=0),
    "reset": lambda value: check_choice("reset", value, dynamics.RESETS),
    "surrogate": surrogates.get,
    "eta": check_eta,
    "omega_form": lambda value: check_form("omega_form", value),
    "half_width": check_half_width,
    "membrane_regularizer": check_membrane_regularizer,
    "learn_tau": lambda value: check_choice("learn_tau", value, (None, "layer", "time")),
    **{
        name: functools.partial(check_flag, name)
        for name in ("detach_reset", "track_omega", "constant_input", "stateful", "learn_gamma")
    },
}


def _check_floating(inputs):
    dtype = tf.as_dtype(inputs.dtype)
    if not dtype.is_floating:
        raise ValueError(
            "LIFLayer integrates input currents, which must be floating point. "
            f"Received: dtype={dtype.name}. Cast the input, e.g. by `keras.ops.cast(x, 'float32')`."
        )
