from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch.autograd import DeviceType

from shoal.training.kernels import a_step, fused, generated, on_device, on_host

SOURCE = """
cpp_fused_relu_0 = async_compile.cpp_pybinding(['const float*'], r'''
    inner = async_compile.nothing
''')
triton_poi_fused_add_mul_1 = async_compile.triton('triton_poi_fused_add_mul_1', '''
''')
async_compile.wait(globals())
"""


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("cpp_fused_relu_0", ["relu"]),
        ("triton_red_fused__to_copy_mean_12", ["_to_copy", "mean"]),
        ("cpp_fused__log_softmax__log_softmax_backward_data_add_copy__eq_3",
         ["_log_softmax", "_log_softmax_backward_data", "add", "copy_", "eq"]),
        ("cpp_fused_max_pool2d_with_indices_max_pool2d_with_indices_backward_mul_7",
         ["max_pool2d_with_indices", "max_pool2d_with_indices_backward", "mul"]),
        ("cpp_fused_split_with_sizes_t_view_4", []),
        ("cpp_fused_no_such_operation_1", []),
        ("aten::mm", []),
    ],
)  # fmt: skip
def test_the_name_of_a_kernel_says_what_it_fuses(name: str, operations: list[str]) -> None:
    assert list(fused(name)) == operations


def test_kernels_are_found_in_the_source() -> None:
    assert generated(SOURCE) == ["cpp_fused_relu_0", "triton_poi_fused_add_mul_1"]


def event(name: str, microseconds: float, *children: Any, device: DeviceType = DeviceType.CPU) -> Any:
    made = SimpleNamespace(name=name, cpu_time_total=microseconds, device_time_total=microseconds)
    made.device_type, made.cpu_parent, made.cpu_children = device, None, list(children)
    for child in children:
        child.cpu_parent = made
    return made


def test_calls_are_counted_once_wherever_they_are_nested() -> None:
    inner = event("aten::as_strided", 1)
    calls = event("## Call CompiledFxGraph", 90, event("aten::mm", 5, inner), event("graph_0_cpp_fused_relu_0", 2))
    other = event("aten::mm", 7)
    found = on_host([calls, *calls.cpu_children, inner, other], frozenset(["cpp_fused_relu_0"]))
    assert {name: pytest.approx(sum(times)) for name, times in found.items()} == {
        "aten::mm": 12e-6,
        "cpp_fused_relu_0": 2e-6,
    }
    assert len(found["aten::mm"]) == 2


def test_of_a_gpu_its_own_times_count() -> None:
    on_gpu = [event(name, 4, device=DeviceType.CUDA) for name in ("triton_1", "triton_10", "triton_1_0d1d", "gemm")]
    found = on_device([event("aten::mm", 50), *on_gpu], frozenset(["triton_1", "triton_10"]))
    assert {name: len(times) for name, times in found.items()} == {"triton_1": 2, "triton_10": 1, "gemm": 1}
    assert sum(found["triton_1"]) == pytest.approx(8e-6)


def test_a_step_is_the_median_of_steps() -> None:
    assert a_step([1.0, 2.0, 1.0, 2.0, 100.0, 2.0], 3) == 3.0
    assert a_step([6.0], 3) == 2.0  # not called in every step
