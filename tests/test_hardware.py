import pytest

from keras_mpdsgr import hardware

INTEL = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile\n"
AMX = "processor\t: 0\nflags\t\t: fpu amx_bf16\n"
OLD = "processor\t: 0\nmodel name\t: an avx512_bf16\nflags\t\t: fpu avx512f avx512_vnni\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.fixture(autouse=True)
def with_onednn(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.mark.parametrize(
    "cpuinfo, capabilities, expected",
    [
        (INTEL, [], "AVX512-BF16"),
        (AMX, [], "AMX-BF16"),
        (OLD, [], None),
        (ARM, [], None),
        ("", [], None),
        (OLD, [(8, 0)], "GPU of compute capability 8.0"),
        (OLD, [(12, 0), (8, 6)], "GPU of compute capability 8.6"),
        (OLD, [(7, 5)], None),
        # The network runs on the GPUs, on the slowest of them too.
        (INTEL, [(7, 5)], None),
        (INTEL, [(9, 0), (7, 0)], None),
        (INTEL, [None], None),
    ],
)
def test_bfloat16_is_told_by_the_devices_that_compute(cpuinfo, capabilities, expected):
    assert hardware.bfloat16_instructions(cpuinfo, capabilities) == expected


def test_without_onednn_a_processor_has_nothing_for_bfloat16(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert hardware.bfloat16_instructions(INTEL, []) is None
    assert hardware.bfloat16_instructions(INTEL, [(8, 0)]) is not None


def test_this_machines_own_file_is_read(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(hardware, "_CPUINFO", path)
    assert hardware.bfloat16_instructions(capabilities=[]) is None  # there is none
    path.write_text(INTEL)
    assert hardware.bfloat16_instructions(capabilities=[]) == "AVX512-BF16"
