"""Times and memory of contenders: their processes, their turns, what is told of them."""
