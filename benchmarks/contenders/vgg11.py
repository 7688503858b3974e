"""The layer list of the network that all contenders build."""

PLAN = (64, "pool", 128, 256, "pool", 512, 512, 512, "pool", 512, 512)
UNITS = (4096, 4096)
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def scaled(channels, width):
    """A layer's number of channels under a width multiplier."""
    return max(1, round(channels * width))
