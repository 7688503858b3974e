"""One network on one batch: what all contenders of a comparison are given."""

import dataclasses

import numpy as np

CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Case:
    """A VGG11 on one batch of images.

    Args:
        batch: Images in the batch.
        timesteps: Length T of the window.
        width: Multiplier of all layer widths.
        image_size: Side of the images in pixels.
        tau: Leak factor, in (0, 1).
        seed: Of the images, labels and weights.
    """

    batch: int = 32
    timesteps: int = 4
    width: float = 0.25
    image_size: int = 32
    tau: float = 0.5
    seed: int = 0

    @property
    def title(self):
        return f"batch {self.batch}, T = {self.timesteps}, width {self.width:g}"

    def to_dict(self):
        return dataclasses.asdict(self)

    def images(self):
        """Images, `(batch, size, size, 3)`, float32 in [0, 1], and labels, `(batch,)`."""
        rng = np.random.default_rng(self.seed)
        shape = (self.batch, self.image_size, self.image_size, 3)
        x = rng.uniform(size=shape).astype("float32")
        return x, rng.integers(CLASSES, size=self.batch).astype("int32")
