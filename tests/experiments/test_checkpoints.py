"""What a run's checkpoints and seeds are good for."""

import keras
import numpy as np

from keras_mpdsgr.experiments.checkpoints import EpochSeeds


def draws(seed, epoch, steps=20):
    """What two random layers' generators draw in an epoch, one number a step."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.GaussianNoise(0.1, seed=1),
                              keras.layers.Dropout(0.5, seed=2)])  # fmt: skip
    callback = EpochSeeds(seed)
    callback.set_model(model)
    callback.on_epoch_begin(epoch)
    generators = [layer.seed_generator for layer in model.layers]
    return [
        [tuple(keras.ops.convert_to_numpy(generator.next())) for _ in range(steps)]
        for generator in generators
    ]


def test_no_two_epochs_generators_or_seeds_draw_the_same():
    drawn = [
        step
        for seed in (42, 43)
        for epoch in range(5)
        for own in draws(seed, epoch)
        for step in own
    ]
    assert len(set(drawn)) == len(drawn) == 2 * 5 * 2 * 20


def test_an_epoch_draws_the_same_whenever_it_is_begun():
    np.testing.assert_array_equal(draws(42, 3), draws(42, 3))
