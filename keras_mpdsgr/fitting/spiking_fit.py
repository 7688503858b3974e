"""What `fit`, `evaluate` and `predict` need of a Keras model with spiking neurons."""

from keras_mpdsgr import dynamics, keras_internals
from keras_mpdsgr.fitting import multi_worker
from keras_mpdsgr.layers.tracking import network_means


class SpikingFit(keras_internals.BuildHook):
    """Mixin of a `keras.Model` with layers of neurons: one line of metrics, one trace a step.

    The progress line shows the network's means of what the layers measure. No function is compiled
    inside `gradient_mode`. The optimizer's variables are made before the training step is traced:
    TensorFlow traces a step again that makes variables, which takes seconds. (So do metrics that
    are given to `compile` by name, not as objects.)
    """

    def get_metrics_result(self):
        return network_means(self.metrics)

    def test_step(self, data):
        return multi_worker.step_results(super().test_step(data))

    def build_source(self, iterator, data_batch):
        return multi_worker.build_source(self.distribute_strategy, iterator, data_batch)

    def make_train_function(self, force=False):
        dynamics.refuse_scope("`fit`")
        ready = all(layer.built for layer in keras_internals.all_layers(self))
        if ready and self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def make_test_function(self, force=False):
        dynamics.refuse_scope("`evaluate`")
        return super().make_test_function(force)

    def make_predict_function(self, force=False):
        dynamics.refuse_scope("`predict`")
        return super().make_predict_function(force)
