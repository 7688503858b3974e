"""Shows which operations a training step's time goes to, by TensorFlow's profiler.

Times are summed over threads, so that they add up to more than the step takes.
"""

import collections
import pathlib
import tempfile
import time

from absl import flags

from benchmarks import contenders, machine, markdown
from benchmarks.timing import program, reporting

_BFLOAT16 = flags.DEFINE_bool("bfloat16", False, "Profile steps in bfloat16, beside float32's.")

_NAMES = ["ann", "ours", "ours_omega", "ours_omega_analytic"]
_IN_BFLOAT16 = ["ann_bf16", "ours_bf16", "ours_bf16_omega"]
_STEPS = 8
_WARM_UP = 4

# The first that a name contains any part of. What XLA compiles are the neurons.
_GROUPS = {
    "convolutions": ("Conv2D",),
    "normalization": ("BatchNorm",),
    "dense layers": ("MatMul", "BiasAdd"),
    "pooling": ("AvgPool",),
    "neurons, compiled": ("fusion", "wrapped_"),
    "casts between types": ("Cast",),
    "scheduling": (
        "Process", "Start", "Done", "Execute", "ParallelFor", "PartitionedCall", "Callback", "Xla",
    ),
    "all other operations": ("",),
}  # fmt: skip
# They hold or wait for the others.
_NOT_COUNTED = ("Run", "BlockUntilReady", "TfOpRun")


def main():
    # Here, not above: a refused flag needs no TensorFlow.
    import tensorflow as tf

    (case, *_) = program.cases(batches=(32,), steps=(8,))
    names = _NAMES[:2] if program.smoke() else _NAMES
    result = {"machine": machine.describe(), "steps": _STEPS, "case": case.to_dict(), "found": {}}
    if _BFLOAT16.value:
        # Elsewhere too: that it is slow there is then seen.
        result["bfloat16"] = program.bfloat16()
        names = [*names, *(_IN_BFLOAT16[:2] if program.smoke() else _IN_BFLOAT16)]
    with program.rounds(f"profile, {case.title}", len(names)) as shown:
        for done, name in enumerate(names, start=1):
            contender = contenders.make(name, case, jit=program.jit())
            result["found"][name] = _profile(tf, contender.train_step)
            del contender
            shown(done)
    step = {name: found["milliseconds_a_step"] for name, found in result["found"].items()}
    result["ratios"] = {f"{name}_vs_ann": step[name] / step["ann"] for name in names[1:]}
    if "ours_bf16" in step:
        result["ratios"]["ours_bf16_vs_ours"] = step["ours_bf16"] / step["ours"]
    text = f"Operations of a training step, {case.title}\n\n" + table(result)
    program.finish("operations", result, text, lambda axes: _draw(axes, result))


def _profile(tf, step):
    for _ in range(_WARM_UP):
        step()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            began = time.perf_counter()
            for _ in range(_STEPS):
                step()
            seconds = time.perf_counter() - began
        trace = next(pathlib.Path(folder).rglob("*.xplane.pb")).read_bytes()
    groups = collections.defaultdict(lambda: {"milliseconds": 0.0, "calls": 0.0})
    for name, picoseconds in _self_times(trace):
        group = next(g for g, parts in _GROUPS.items() if any(part in name for part in parts))
        groups[group]["milliseconds"] += picoseconds / 1e9 / _STEPS
        groups[group]["calls"] += 1 / _STEPS
    return {"milliseconds_a_step": 1e3 * seconds / _STEPS, "groups": dict(groups)}


def _self_times(trace):
    """Name and picoseconds of each event of the CPU's threads, less those of events inside it."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(trace)
    for plane in space.planes:
        if "CPU" not in plane.name:
            continue
        for line in plane.lines:
            events = sorted(line.events, key=lambda event: (event.offset_ps, -event.duration_ps))
            own, around = [event.duration_ps for event in events], []
            for number, event in enumerate(events):
                while around and _end(events[around[-1]]) <= event.offset_ps:
                    around.pop()
                if around:
                    own[around[-1]] -= event.duration_ps
                around.append(number)
            for event, picoseconds in zip(events, own, strict=True):
                name = plane.event_metadata[event.metadata_id].name.rsplit(":", 1)[-1]
                if name not in _NOT_COUNTED:
                    yield name, picoseconds


def _end(event):
    return event.offset_ps + event.duration_ps


def _shown(result):
    """The kinds of operations that any of the contenders has."""
    return [g for g in _GROUPS if any(g in found["groups"] for found in result["found"].values())]


def table(result):
    """The table of what was profiled, in Markdown."""
    found = result["found"]
    header = ["thread milliseconds (calls) a step", *(reporting.LABELS[name] for name in found)]
    rows = [
        ["the step, milliseconds", *(f"{f['milliseconds_a_step']:.0f}" for f in found.values())]
    ]
    for group in _shown(result):
        cells = [f["groups"].get(group) for f in found.values()]
        rows.append(
            [group, *(f"{c['milliseconds']:.1f} ({c['calls']:.0f})" if c else "0" for c in cells)]
        )
    return markdown.table(header, rows)


def _draw(axes, result):
    labels = [reporting.LABELS[name] for name in result["found"]]
    left = [0.0] * len(labels)
    for group in _shown(result):
        values = [
            found["groups"].get(group, {"milliseconds": 0.0})["milliseconds"]
            for found in result["found"].values()
        ]
        axes.barh(labels, values, left=left, label=group)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a step, summed over threads")
    axes.legend(fontsize="small")


if __name__ == "__main__":
    program.run(main, __doc__)
