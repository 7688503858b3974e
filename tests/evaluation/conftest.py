"""What several tests of evaluations share."""

import pytest


class Listener:
    """Shows an evaluation's progress to nobody: notes what it is told, in order."""

    def __init__(self):
        self.heard = []

    def attack(self, name, total):
        self.heard.append((name, total))
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def advance(self, count, survivors):
        self.heard.append((count, survivors))


@pytest.fixture
def listener():
    return Listener()
