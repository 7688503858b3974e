"""What all attacks share: checked input, chunks, seeds per sample, configuration."""

import abc
import inspect

import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics, surrogates
from keras_mpdsgr.arguments import check_choice, check_integer
from keras_mpdsgr.attacks.draws import SampleDraws
from keras_mpdsgr.attacks.target import JIT_CHOICES, Target
from keras_mpdsgr.inputs import check_attacked, check_fits


class Attack(abc.ABC):
    """Base of all attacks: a small object that holds hyper-parameters and is called on a model.

    A subclass stores its arguments under their own names and defines `perturb`. Names in
    `tensor_arguments` go into the compiled step as tensors, and those in `outside_the_step` do not
    go in at all, so that changing them compiles nothing.

    Args:
        gradient: Backward pass of spiking neurons: `"bptt"`, `"bptr"`, ... (`gradient_mode`).
        surrogate: Name or object of a surrogate to attack with; None for the model's own.
        eot: Number of draws that a gradient is averaged over, for models random at inference.
        jit: XLA: `"auto"` (on a GPU), `"on"` or `"off"`.
    """

    norm = "linf"
    tensor_arguments: tuple[str, ...] = ()
    outside_the_step: tuple[str, ...] = ()

    def __init__(self, gradient="bptt", surrogate=None, eot=1, jit="auto"):
        dynamics.get_mode(gradient, None if surrogate is None else surrogates.get(surrogate))
        self.gradient = gradient
        self.surrogate = surrogate
        self.eot = check_integer("eot", eot, "draws that a gradient is averaged over", least=1)
        self.jit = check_choice("jit", jit, JIT_CHOICES)

    def __call__(self, model, x, y, seed=0, batch_size=100, indices=None):
        """Attacks a model.

        Args:
            model: A Keras classifier of pixels in [0, 1].
            x: Images, `(n, ...)`, floating point in [0, 1].
            y: True labels, `(n,)`, integers.
            seed: Of all that is random. A sample's draws depend on it and on the sample alone, not
                on the batch it is in.
            batch_size: Images attacked at a time.
            indices: `(n,)`, the samples' numbers that their random draws go by; by default 0..n-1.

        Returns:
            The adversarial images, a float32 array in the shape of `x`.

        Raises:
            ValueError: If images or labels are not what is said above, the model is stateful, or a
                backward pass is asked for that needs spiking layers and the model has none.
        """
        return self.run(self.target(model), x, y, seed, batch_size, indices)

    def target(self, model):
        """The model as this attack sees it, a `Target`."""
        return Target(model, self.gradient, self.surrogate, self.eot, jit=self.jit)

    def run(self, target, x, y, seed=0, batch_size=100, indices=None):
        """As calling the attack, on a `Target`, which counts the gradients."""
        x, y = check_attacked(x, y)
        adversarial = np.empty_like(x)
        batch_size = min(check_integer("batch_size", batch_size, "images", least=1), len(x))
        for chosen, found in self.chunks(target, x, y, seed, batch_size, indices):
            adversarial[chosen] = found
        return adversarial

    def chunks(self, target, x, y, seed=0, batch_size=100, indices=None):
        """Attacks chunk by chunk: yields the positions of a chunk and its adversarial images.

        Every chunk is filled up to `batch_size`, so that one shape is compiled, or to a quarter of
        it where that holds all.
        """
        if 4 * len(x) <= batch_size:
            batch_size = max(batch_size // 4, 1)
        check_integer("seed", seed, least=0)
        check_fits(target.model, x, y)
        indices = np.arange(len(x)) if indices is None else np.asarray(indices)
        if indices.shape != (len(x),) or indices.dtype.kind not in "iu":
            raise ValueError(
                f"`indices` must hold one whole number for each of the {len(x)} images. "
                f"Received: shape={indices.shape}, dtype={indices.dtype}."
            )
        for start in range(0, len(x), batch_size):
            chosen = np.arange(start, min(start + batch_size, len(x)))
            filled = np.resize(chosen, batch_size)
            with target.seeded(seed, indices[chosen[0]]):
                found = self.perturb(
                    target,
                    tf.constant(x[filled]),
                    tf.constant(y[filled]),
                    SampleDraws(seed, indices[filled]),
                )
            yield chosen, np.asarray(found)[: len(chosen)]

    @abc.abstractmethod
    def perturb(self, target, x, y, draws):
        """Adversarial images of one batch.

        Args:
            target: The `Target`.
            x: Images, `(batch, ...)`, a float32 tensor.
            y: Labels, `(batch,)`, an int32 tensor.
            draws: Source of random numbers, one stream a sample.

        Returns:
            Tensor in the shape of `x`.
        """

    def passes(self):
        """What a run asks of the model for one image, at most.

        Returns:
            A list of pairs: the backward pass, as arguments of an attack (`gradient`, `surrogate`),
            or None for a forward pass alone, and how often. Empty where the attack asks nothing.
        """
        return []

    def _backward(self):
        return {"gradient": self.gradient, "surrogate": self.surrogate}

    def numbers(self):
        """The arguments that enter a compiled step as tensors."""
        return {name: float(getattr(self, name)) for name in self.tensor_arguments}

    def static_key(self):
        """The arguments that a compiled step is made for."""
        skipped = {*self.tensor_arguments, *self.outside_the_step}
        skipped |= {"gradient", "surrogate", "eot", "jit"}
        return tuple(
            (name, value) for name, value in self.get_config().items() if name not in skipped
        )

    def get_config(self):
        """The arguments that make this attack, by name."""
        names = self.argument_names()
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    @classmethod
    def argument_names(cls):
        """The names of the arguments of the class and of those it extends, sorted."""
        names = set()
        for kind in cls.__mro__:
            if issubclass(kind, Attack):
                names.update(inspect.signature(kind.__init__).parameters)
        return sorted(names - {"self", "options"})

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
