"""What a Keras model needs so that plain `fit` and `evaluate` run on several machines.

Keras 3.15 fails under `MultiWorkerMirroredStrategy` in two places. A model fixes them by overriding
`build_source`, `train_step` and `test_step` with the two functions here, which change nothing under
any other strategy.
"""

import keras
import tensorflow as tf

from keras_mpdsgr import keras_internals


def build_source(strategy, iterator, data_batch):
    """What a model is built from: on several machines a batch of this one's data.

    Keras would reduce the batch over all workers, its whole `(x, y)` at a time, which fails.

    Args:
        strategy: The model's `tf.distribute.Strategy`.
        iterator: Keras' epoch iterator, or None.
        data_batch: A batch, or None.

    Returns:
        Iterator and batch, as of `keras_internals.BuildHook.build_source`.
    """
    if iterator is None or not keras_internals.on_several_machines(strategy):
        return iterator, data_batch
    _, _, batches = next(iter(iterator))
    return None, keras.tree.map_structure(
        lambda values: strategy.experimental_local_results(values)[0], next(batches)
    )


def step_results(results):
    """Results of a training or test step in a form that Keras can reduce over workers.

    It takes the mean along axis 0, which a scalar has not.

    Args:
        results: Values by name.
    """
    if not keras_internals.on_several_machines(tf.distribute.get_strategy()):
        return results
    return keras.tree.map_structure(lambda value: tf.expand_dims(value, 0), results)
