"""Gradient ascent inside a region around images: what attacks and adversarial training share.

Pure functions of tensors. The state is a dictionary: `"image"`, `"mode"` (what the backward pass
carries from step to step), and what is kept on the way.
"""

import tensorflow as tf

from keras_mpdsgr.attacks.ball import direction, per_image, project


def start(x, allowed, norm="linf", offset=None):
    """The image that the first gradient is taken at.

    Args:
        x: Images, `(batch, ...)`, float32.
        allowed: The `region` that it stays in.
        norm: `"linf"` or `"l2"`.
        offset: What the first image is moved by, in the shape of `x`; None for nothing.
    """
    return x if offset is None else project(x + offset, allowed, norm)


def advance(state, allowed, gradient_at, step, norm="linf", keep=None):
    """One step: the gradient at the image, a step along it, the projection.

    Args:
        state: The state so far; at the start `"image"` and an empty `"mode"`.
        allowed: As of `start`.
        gradient_at: Function of an image and a mode's state that gives gradient, logits, losses and
            the mode's new state, as `Target.input_gradient` does.
        step: Function of an image and its gradient that gives the next image, before projection.
        norm: As of `start`.
        keep: Function of state, image, logits and losses that gives the entries of the state that
            remember images; None to remember none.

    Returns:
        The following state.
    """
    image = state["image"]
    gradient, logits, values, mode = gradient_at(image, state["mode"])
    kept = {} if keep is None else keep(state, image, logits, values)
    following = project(step(image, gradient), allowed, norm)
    return {**state, **kept, "mode": mode, "image": following}


def steepest(image, gradient, step_size, norm="linf"):
    """The image moved by `step_size` along the steepest direction of a norm."""
    return image + step_size * direction(gradient, norm)


def nothing_kept(image):
    """The entries of the state that `keep` changes, at the start."""
    batch = tf.shape(image)[:1]
    return {
        "kept": image,
        "broken": tf.zeros(batch, tf.bool),
        "best": tf.fill(batch, -float("inf")),
    }


def keep(state, image, reached, values, highest=False):
    """The same entries after one more look at each sample.

    Args:
        state: The state so far.
        image: The images looked at.
        reached: Whether each has succeeded, `(batch,)`.
        values: Losses, `(batch,)`.
        highest: Whether to keep the image of the highest loss, and not the first that succeeded.
    """
    better = values > state["best"]
    kept = better if highest else reached & ~state["broken"]
    return {
        "kept": tf.where(per_image(kept, image), image, state["kept"]),
        "broken": state["broken"] | reached,
        "best": tf.where(better, values, state["best"]),
    }
