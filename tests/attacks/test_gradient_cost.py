import tensorflow as tf

from keras_mpdsgr import attacks, models
from keras_mpdsgr.attacks.losses import cross_entropy


def needed(tensors):
    """The operations that run for these tensors; TensorFlow prunes the others."""
    found, waiting = set(), [tensor.op for tensor in tensors]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return found


def test_an_input_gradient_computes_no_weight_gradient():
    model = models.vgg11((16, 16, 3), 10, timesteps=2, width=0.02)
    target = attacks.Target(model)
    function = tf.function(lambda x, y: target.input_gradient(x, y, cross_entropy)[0])
    images = tf.TensorSpec((2, 16, 16, 3), tf.float32)
    graph = function.get_concrete_function(images, tf.TensorSpec((2,), tf.int32)).graph
    kinds = [operation.type for operation in needed(graph.outputs)]
    assert kinds.count("Conv2DBackpropInput") == kinds.count("Conv2D") == 8
    assert "Conv2DBackpropFilter" not in kinds
