"""FAB: the nearest misclassified image, by projections onto linearised decision boundaries."""

import dataclasses

import tensorflow as tf

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.ball import ball, per_image
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.fields import outside
from keras_mpdsgr.attacks.hyperplane import shift_to_hyperplane
from keras_mpdsgr.inputs import check_radius

# Constants of the public code of AutoAttack (Croce & Hein, 2020).
_MOST_TOWARDS_THE_IMAGE = 0.1
_OVERSHOOT = 1.05
_BACKWARD = 0.9
_START_SHARE = 0.5
_SHORTEST = 1e-8


@dataclasses.dataclass(frozen=True, repr=False)
class FAB(Attack):
    """Fast adaptive boundary attack (Croce & Hein, 2020), L-infinity, its targeted form FAB-T.

    For each of the likeliest wrong classes t in turn, `steps` times: linearises `z_t - z_y`, goes
    just past its zero between the projections of the present and of the clean image, and steps back
    towards the clean image where the model errs. So it looks for the least change. It does not
    follow a loss, and so does not fail where a loss is flat.

    Returns for each sample the nearest image that misclassified, if it lies in the ball, else the
    clean image. Any misclassification counts, whichever class it was aimed at.

    Args:
        eps: Radius of the L-infinity ball within which an error counts, in units of pixels scaled
            to [0, 1]. Random starts lie within half of it.
        steps: Number of gradient steps for each class, at least 1.
        targets: Number of wrong classes, the likeliest by the model's logits of the clean image
            first; at most all of them are tried.
        restarts: Runs for each class. The first starts from the clean image, the others at random.
        gradient, surrogate, eot, jit: As of `Attack`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    eps: float = outside(8 / 255, check_radius)
    steps: int = outside(100, check_integer, "gradient steps for each class", least=1)
    targets: int = outside(9, check_integer, "wrong classes tried", least=1)
    restarts: int = outside(1, check_integer, "runs for each class", least=1)

    def passes(self):
        number = self.steps * self.targets * self.restarts * self.eot
        return [(self._backward(), number), (None, number)]

    def perturb(self, target, x, y, draws):
        low, high = ball(x, self.eps)
        pixels = list(range(1, len(x.shape)))
        found, broken = x, target.call(self.breaks, x, y)
        wrong = target.call(self.wrong_classes, x, y)
        for towards in tf.unstack(wrong[:, : self.targets], axis=1):
            for restart in range(self.restarts):
                if bool(tf.reduce_all(broken)):
                    return found
                start = x if restart == 0 else self.start(x, draws)
                nearest = self.descend(target, x, losses.Goal(y, towards), start)
                inside = tf.reduce_all((nearest >= low) & (nearest <= high), axis=pixels)
                newly = ~broken & inside & tf.reduce_any(nearest != x, axis=pixels)
                found = tf.where(per_image(newly, x), nearest, found)
                broken |= newly
        return found

    def start(self, x, draws):
        """A random image whose farthest pixel is half of eps away, before clipping."""
        offset = draws.uniform(x.shape[1:])
        farthest = _farthest(offset)
        moved = x + _START_SHARE * self.eps * offset / per_image(farthest, x)
        return tf.clip_by_value(moved, 0.0, 1.0)

    def descend(self, target, x, goal, start):
        """One run: the nearest image found that misclassifies, else the clean image."""
        state = {
            "image": start,
            "mode": (),
            "nearest": x,
            "distance": tf.fill(tf.shape(x)[:1], float("inf")),
        }
        for _ in range(self.steps):
            state = target.call(self.iterate, state, x, goal)
            target.count(len(x) - target.padding)
        return state["nearest"]

    def iterate(self, target, state, x, goal):
        image = state["image"]
        slope, _, lead, mode = target.input_gradient(image, goal, losses.lead, state["mode"])
        image = self._towards_the_boundary(image, x, slope, lead)
        reached = self.succeeded(target.mean_logits(image), goal)
        distance = _farthest(image - x)
        nearer = reached & (distance < state["distance"])
        back = x + _BACKWARD * (image - x)
        return {
            "image": tf.where(per_image(reached, x), back, image),
            "mode": mode,
            "nearest": tf.where(per_image(nearer, x), image, state["nearest"]),
            "distance": tf.where(nearer, distance, state["distance"]),
        }

    def _towards_the_boundary(self, image, x, slope, lead):
        flat, centers, normals = (
            tf.reshape(images, (tf.shape(images)[0], -1)) for images in (image, x, slope)
        )
        lead_at_centers = lead + tf.reduce_sum(normals * (centers - flat), axis=1)
        of_image = shift_to_hyperplane(flat, normals, lead)
        of_center = shift_to_hyperplane(centers, normals, lead_at_centers)
        lengths = [
            tf.maximum(tf.reduce_max(tf.abs(shift), axis=1, keepdims=True), _SHORTEST)
            for shift in (of_image, of_center)
        ]
        share = tf.minimum(lengths[0] / (lengths[0] + lengths[1]), _MOST_TOWARDS_THE_IMAGE)
        ahead = flat + _OVERSHOOT * of_image
        beside = centers + _OVERSHOOT * of_center
        mixed = tf.clip_by_value((1 - share) * ahead + share * beside, 0.0, 1.0)
        return tf.reshape(mixed, tf.shape(image))

    def breaks(self, target, x, y):
        return self.succeeded(target.mean_logits(x), y)


def _farthest(offset):
    """The largest pixel of each image's offset, `(batch,)`."""
    return tf.reduce_max(tf.abs(offset), axis=list(range(1, len(offset.shape))))
