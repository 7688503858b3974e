"""The same VGG11 in PyTorch, around any library's neurons."""

import abc

import numpy as np
import torch
from torch import nn

from benchmarks.contenders.base import EPS, LEARNING_RATE, MOMENTUM, PGD_STEPS, STEP_SIZE, Peer
from benchmarks.contenders.case import CLASSES
from benchmarks.contenders.vgg11 import MEAN, PLAN, STD, UNITS, scaled


class TorchNetwork(Peer):
    """VGG11 with time folded into the batch for all but the neurons.

    The first convolution runs once an image, as this library's does; SGD is PyTorch's fused one.

    Args:
        case: The `Case`.
        channels_last: Whether convolutions run in that memory format.
        compiled: Whether the network goes through `torch.compile`.
        bfloat16: Whether it runs under `torch.autocast` to bfloat16.
    """

    def __init__(self, case, channels_last=True, compiled=False, bfloat16=False):
        super().__init__(case)
        torch.manual_seed(case.seed)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = _VGG11(case, self).to(self._device, memory_format=self._format)
        self._compiled = torch.compile(self.network) if compiled else self.network
        self.is_bfloat16 = bfloat16
        images, labels = case.images()
        self._x = self._to_torch(images)
        self._y = torch.from_numpy(labels).long().to(self._device)
        self._optimizer = torch.optim.SGD(
            self.network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True
        )
        self._loss = nn.CrossEntropyLoss()
        self._summed = nn.CrossEntropyLoss(reduction="sum")

    @abc.abstractmethod
    def neurons(self):
        """A module of neurons: currents `(time, batch, ...)` to spikes, from rest at each call."""

    @property
    def neuron_gain(self):
        """Factor that the library's neurons want on the currents of u = tau u + I."""
        return 1.0

    def load(self, weights):
        network = self.network
        arrays = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        with torch.no_grad():
            for number, layer in enumerate(network.weighted):
                gain = self.neuron_gain if number < len(network.neurons) else 1.0
                kernel = arrays[f"{number}/kernel"]
                if number >= network.first_dense:
                    if number == network.first_dense:
                        kernel = self._rows_by_channel(kernel)
                    layer.weight.copy_(kernel.T * gain)
                    layer.bias.copy_(arrays[f"{number}/bias"] * gain)
                    continue
                norm = network.norms[number]
                layer.weight.copy_(kernel.permute(3, 2, 0, 1))
                norm.weight.copy_(arrays[f"{number}/scale"] * gain)
                norm.bias.copy_(arrays[f"{number}/beta"] * gain)
                norm.running_mean.copy_(arrays[f"{number}/moving_mean"])
                norm.running_var.copy_(arrays[f"{number}/moving_variance"])

    def train_step(self):
        self.network.train()
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self._call(self._x), self._y)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def input_gradient(self):
        self.network.eval().requires_grad_(False)
        gradient = self._gradient_at(self._x)
        self.network.requires_grad_(True)
        return gradient.permute(0, 2, 3, 1).cpu().numpy()

    def attack(self):
        self.network.eval().requires_grad_(False)
        noise = torch.empty_like(self._x).uniform_(-EPS, EPS)
        image = (self._x + noise).clamp_(0, 1)
        for _ in range(PGD_STEPS):
            image = image + STEP_SIZE * self._gradient_at(image).sign_()
            image = torch.clamp(image, self._x - EPS, self._x + EPS).clamp_(0, 1)
        self.network.requires_grad_(True)
        return image.permute(0, 2, 3, 1).cpu().numpy()

    def currents(self, number, inputs):
        self.network.eval()
        with torch.no_grad(), self._autocast():
            x = self._to_torch(inputs) if number == 0 else self._sequence_to_torch(inputs)
            outputs = self.network.stage(number, x)
        gain = self.neuron_gain if number < len(self.network.neurons) else 1.0
        return self._sequence_to_numpy(outputs) / gain

    def spikes(self, number, currents):
        if number >= len(self.network.neurons):
            return None
        with torch.no_grad(), self._autocast():
            x = self._sequence_to_torch(currents * self.neuron_gain)
            return self._sequence_to_numpy(self.network.neurons[number](x))

    def _autocast(self):
        return torch.autocast(self._device, torch.bfloat16, enabled=self.is_bfloat16)

    def _call(self, images):
        with self._autocast():
            logits = self._compiled(images)
        return logits.float()

    def _gradient_at(self, image):
        image = image.detach().requires_grad_(True)
        loss = self._summed(self._call(image), self._y)
        return torch.autograd.grad(loss, image)[0]

    def _to_torch(self, images):
        x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return x.to(self._device).contiguous(memory_format=self._format)

    def _sequence_to_torch(self, array):
        array = array.swapaxes(0, 1).astype("float32")
        steps, batch = array.shape[:2]
        if array.ndim < 5:
            return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        folded = self._to_torch(array.reshape(steps * batch, *array.shape[2:]))
        return folded.unflatten(0, (steps, batch))

    @staticmethod
    def _sequence_to_numpy(x):
        if x.ndim == 5:
            x = x.permute(0, 1, 3, 4, 2)
        return x.transpose(0, 1).float().cpu().numpy()

    def _rows_by_channel(self, kernel):
        side = self.network.flat_side
        rows = kernel.reshape(side, side, -1, kernel.shape[-1])
        return rows.permute(2, 0, 1, 3).reshape(kernel.shape)


class _VGG11(nn.Module):
    def __init__(self, case, library):
        super().__init__()
        self.timesteps = case.timesteps
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
        weighted, norms, self.pooled = [], [], set()
        channels, side = 3, case.image_size
        for step in PLAN:
            if step == "pool":
                self.pooled.add(len(weighted))
                side //= 2
                continue
            out = scaled(step, case.width)
            weighted.append(nn.Conv2d(channels, out, 3, padding=1, bias=False))
            norms.append(nn.BatchNorm2d(out))
            channels = out
        self.first_dense, self.flat_side = len(weighted), side
        features = channels * side * side
        for units in (*(scaled(n, case.width) for n in UNITS), CLASSES):
            weighted.append(nn.Linear(features, units))
            norms.append(nn.Identity())
            features = units
        self.weighted, self.norms = nn.ModuleList(weighted), nn.ModuleList(norms)
        self.neurons = nn.ModuleList(library.neurons() for _ in weighted[:-1])
        self.pool = nn.AvgPool2d(2)

    def stage(self, number, x):
        """Currents `(time, batch, ...)` of a stage from images or spikes."""
        if number == 0:
            x = self.norms[0](self.weighted[0]((x - self.mean) / self.std))
            return x.unsqueeze(0).repeat(self.timesteps, *[1] * x.ndim)
        steps, batch = x.shape[:2]
        x = x.flatten(0, 1)
        if number in self.pooled:
            x = self.pool(x)
        if number == self.first_dense:
            x = x.flatten(1)
        return self.norms[number](self.weighted[number](x)).unflatten(0, (steps, batch))

    def forward(self, x):
        for number, neurons in enumerate(self.neurons):
            x = neurons(self.stage(number, x))
        return self.stage(len(self.neurons), x).mean(0)
