"""What is seen of work under way where there is no terminal; the clock is the test's."""

import io
import threading

import pytest
from rich.console import Console

from keras_mpdsgr.experiments.heartbeat import Heartbeat
from keras_mpdsgr.experiments.progress import AttackProgress, TrainingProgress
from trainers.tuning.show import SearchShow


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=40)


def lines(console):
    return console.file.getvalue().splitlines()


def test_a_line_comes_after_each_half_minute_of_silence_and_not_before(clock):
    said = []
    heart = Heartbeat(said.append, lambda: f"{clock.now:g}", every=30, clock=clock)
    waits = []
    for _ in range(10):
        waits.append(heart.look())
        clock.now += 10
    assert said == ["1030", "1060", "1090"]
    assert waits == [30, 20, 10, 30, 20, 10, 30, 20, 10, 30]
    heart.said()
    clock.now += 29
    heart.look()
    assert len(said) == 3


def test_a_step_that_lets_nobody_look_is_no_silence():
    spoken = threading.Event()
    with Heartbeat(lambda line: spoken.set(), str, every=0.001).beating():
        assert spoken.wait(timeout=60)
    assert not [one for one in threading.enumerate() if one.name == "heartbeat"]


def training(console, clock, first_epoch=0):
    progress = TrainingProgress(console, 12, first_epoch, steps=304, every=30, clock=clock)
    progress.on_train_begin()
    return progress


def steps(progress, clock, count, seconds, logs=None, first=0):
    for step in range(first, first + count):
        clock.now += seconds
        progress.on_train_batch_end(step, logs)
        progress._heart.look()


def test_within_an_epoch_a_line_says_step_loss_and_the_time_left(clock, console):
    progress = training(console, clock)
    progress.on_epoch_begin(0)
    steps(progress, clock, 304, 1.0, {"loss": 2.3107})
    progress.on_epoch_end(0, {"loss": 2.3107})
    progress.stop()
    # 12 epochs of 304 s; after 30 s, 3618 s are left.
    assert lines(console)[0] == "epoch 1/12: step 30 of 304, loss 2.311, 1:00:18 left"
    assert len(lines(console)) == 304 // 30 + 1
    assert lines(console)[-1] == "epoch 1/12  loss 2.3107  304 s, 55:44 left"


def test_before_the_first_step_and_after_the_last_the_line_says_so(clock, console):
    progress = training(console, clock, first_epoch=2)
    progress.on_epoch_begin(2)
    clock.now += 31
    progress._heart.look()
    steps(progress, clock, 304, 0.0, {"loss": 1.0})
    clock.now += 30
    progress._heart.look()
    progress.stop()
    assert lines(console) == [
        "epoch 3/12: step 0 of 304, 0:31 so far",
        "epoch 3/12: all steps done, measuring, loss 1, 9:09 left",
    ]


def test_an_attack_has_a_line_at_its_end_and_each_half_minute_before(clock, console):
    progress = AttackProgress(console, every=30, clock=clock)
    with progress.attack("pgd", 200):
        clock.now += 32
        progress._heart.look()
        for survivors in (60, 95):
            clock.now += 40
            progress.advance(100, survivors)
            progress._heart.look()
    assert lines(console) == [
        "pgd: 0 of 200 images, 0:32 so far",
        "pgd: 100 of 200 images, 60 still right, 1:12 left",
        "pgd: 200 of 200 images, 95 still right, 1:52",
        "pgd: 200 of 200 images, 95 still right, 1:52",
    ]


def test_an_attack_without_an_image_left_is_not_told_of(clock, console):
    with AttackProgress(console, clock=clock).attack("pgd", 0):
        pass
    assert lines(console) == []


def test_a_terminal_and_a_quiet_console_get_no_lines(clock):
    for options in ({"force_terminal": True}, {"quiet": True}):
        console = Console(file=io.StringIO(), **options)
        progress = training(console, clock)
        progress.on_epoch_begin(0)
        with AttackProgress(console).attack("pgd", 1) as attack:
            assert not [one for one in threading.enumerate() if one.name == "heartbeat"]
            attack.advance(1, 1)
        progress.stop()
        assert "of 1 images" not in console.file.getvalue()


def test_a_trial_is_told_of_while_it_goes_on(clock, console):
    show = SearchShow(console, 4, epochs=2, alone=True, every=30, clock=clock)
    measured = {"clean": 0.9, "robust": 0.5, "score": 0.5}
    with show.trial("0", {"eta": 0.1}) as (callback,):
        callback.set_params({"epochs": 2})
        callback.on_epoch_begin(1)
        clock.now += 40
        show._heart.look()
    show.result("0", {"eta": 0.1}, measured, 40)
    with show.trial("1", {"eta": 0.2}) as (callback,):
        callback.on_train_end()
        clock.now += 30
        show._heart.look()
    assert lines(console) == [
        "trial 1 of 4: eta 0.1, epoch 2 of 2, 0:40 so far",
        "trial 1/4  eta 0.1  clean 90.0%  robust 50.0%  score 0.500  0:40, about 2:00 left",
        "trial 2 of 4: eta 0.2, under attack, 0:30 so far, about 1:30 left",
    ]
