"""Precisions: what computes in what, what a device cannot do, and that the process is left as it was."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.errors import RecipeError
from shoal.optim import functional_call
from shoal.recipe.parse import parse
from shoal.tasks import Targets
from shoal.tasks.table import build
from shoal.training import precision as module
from shoal.training import probe
from shoal.training.precision import Precision, as_float32, autocasting, check_precision, matmul_precision, name_of

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
HALF = "fp16"  # bf16 products may end the process on a CPU that reports AMX and has none; in fp16 the path is the same


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    module._complaint.cache_clear()
    yield
    module._complaint.cache_clear()


# What runs in 16 bits


@pytest.mark.parametrize("name", ["fp32", "tf32"])
def test_32_bits_have_no_autocast(name: Any) -> None:
    with autocasting(name, CPU):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_16_bits_are_autocast(name: Any, dtype: torch.dtype) -> None:
    with autocasting(name, CPU):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == dtype
    assert not torch.is_autocast_enabled("cpu")


def test_weights_that_change_inside_are_seen() -> None:
    layer = nn.Linear(2, 2)
    x = torch.ones(1, 2)
    with autocasting(HALF, CPU):
        layer(x)
        with torch.no_grad():
            layer.weight.fill_(3.0)
            layer.bias.zero_()
        assert layer(x).tolist() == [[6.0, 6.0]]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.mix, self.scale, self.head = nn.Linear(4, 12), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BTC = self.norm(self.conv(x_BCHW)).relu().flatten(2).transpose(1, 2)
        q, k, v = self.mix(x_BTC).chunk(3, dim=-1)
        x_BTC = x_BTC + F.scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)).squeeze(1)
        return self.head(self.scale(x_BTC).mean(1))


def test_a_step_under_autocast_has_gradients_in_32_bits_and_is_recorded() -> None:
    torch.manual_seed(0)
    model = Network()

    def gradients(weights: dict[str, Tensor], x_BCHW: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        with autocasting(HALF, CPU):
            outputs = functional_call(model, leaves, (x_BCHW,))
        loss = F.cross_entropy(as_float32(outputs), labels)
        return outputs, loss, *torch.autograd.grad(loss, list(leaves.values()))

    weights = {name: value.detach() for name, value in model.named_parameters()}
    x_BCHW, labels = torch.randn(4, 1, 5, 5), torch.randint(3, (4,))
    recorded = make_fx(gradients)(weights, x_BCHW, labels)
    others = {name: value + 0.1 for name, value in weights.items()}
    found, expected = recorded(others, -x_BCHW, labels), gradients(others, -x_BCHW, labels)
    assert found[0].dtype == torch.float16
    assert {value.dtype for value in found[1:]} == {torch.float32}
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
        assert a.isfinite().all()
    exact = F.cross_entropy(functional_call(model, others, (-x_BCHW,)), labels)
    assert found[1].item() == pytest.approx(exact.item(), abs=0.01)
    assert found[1].item() != exact.item()


# Losses

REAL, WHOLE = torch.randn(16, 4), torch.randint(4, (16,))
LABELS = Targets(4, (), None, CPU)
TASKS: dict[str, tuple[dict[str, Any], Targets, Tensor]] = {
    "classification": ({"name": "classification"}, LABELS, WHOLE),
    "class weights": ({"name": "classification", "class_weights": [1.0, 2.0, 3.0, 4.0]}, LABELS, WHOLE),
    "mse": ({"name": "regression"}, Targets(None, (4,), None, CPU), REAL),
    "mae": ({"name": "regression", "loss": "mae"}, Targets(None, (4,), None, CPU), REAL),
    "huber": ({"name": "regression", "loss": "huber"}, Targets(None, (4,), None, CPU), REAL),
    "multilabel": (
        {"name": "multilabel"},
        Targets(None, (4,), None, CPU, multilabel=True),
        (REAL > 0).float(),
    ),
    "language modelling": (
        {"name": "language_modelling"},
        Targets(4, (3,), None, CPU),
        torch.randint(4, (16, 3)),
    ),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", TASKS)
def test_every_tasks_loss_is_in_float32_within_autocast_and_without(name: str, dtype: torch.dtype) -> None:
    keys, targets, labels = TASKS[name]
    task = build(parse({"task": keys}).task, targets)
    shape = (16, 3, 4) if name == "language modelling" else (16, 4)
    outputs = (4 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
    with torch.autocast("cpu", dtype):
        within = task.loss(outputs, labels)
    without = task.loss(as_float32(outputs), labels)
    assert (within.dtype, without.dtype) == (torch.float32, torch.float32)
    assert torch.equal(within, without)


def test_a_loss_made_of_softmax_is_not_in_float32_within_autocast_on_the_cpu() -> None:
    """Why outputs are made float32 before the loss; where this fails, torch has changed and `as_float32` is spare."""
    outputs = torch.randn(16, 4).half()
    with torch.autocast("cpu", torch.float16):
        assert outputs.log_softmax(1).dtype == torch.float16
    assert as_float32(outputs).log_softmax(1).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_other_outputs_are_left_as_they_are(dtype: torch.dtype) -> None:
    outputs = torch.ones(2, dtype=dtype)
    assert as_float32(outputs) is outputs


# What a device can do


@pytest.mark.parametrize("name", ["fp32"])
@pytest.mark.parametrize("device", [CPU, GPU, torch.device("mps")])
def test_every_device_has_fp32(name: Any, device: torch.device) -> None:
    check_precision(name, device)


@pytest.mark.parametrize("device", [CPU, torch.device("mps")])
def test_tf32_is_for_nvidias_gpus(device: torch.device) -> None:
    with pytest.raises(RecipeError, match=r"precision = tf32: .* has no TensorFloat-32: .*Choose precision=fp32"):
        check_precision("tf32", device)


@pytest.mark.parametrize(("capability", "served"), [((7, 5), False), ((8, 0), True), ((8, 9), True), ((10, 0), True)])
def test_tf32_needs_ampere(capability: tuple[int, int], served: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Example")
    if served:
        check_precision("tf32", GPU)
        return
    with pytest.raises(RecipeError, match=r"tf32: cuda:0 \(NVIDIA Example\) has compute capability 7\.5, .*Ampere"):
        check_precision("tf32", GPU)


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_a_device_that_fails_the_probe_is_refused_with_what_happened(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **keys: object) -> None:
        raise RuntimeError("no kernel for such numbers\nand a long story")

    monkeypatch.setattr(module, "_reports_amx", lambda: False)
    monkeypatch.setattr(probe, "_tried", fail)
    with pytest.raises(RecipeError) as caught:
        check_precision(name, CPU)
    other = "fp16" if name == "bf16" else "bf16"
    assert str(caught.value) == (
        f"precision = {name}: {name_of(CPU)} cannot compute in it: no kernel for such numbers. "
        f"Choose precision=fp32, or try {other}."
    )


def test_the_probe_sees_numbers_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe.complaint(CPU, torch.float16) is None
    monkeypatch.setattr(probe, "_spread", lambda *shape, device: torch.full(shape, 1e4))
    assert probe.complaint(CPU, torch.float16) == "results are not finite"


def test_the_probe_sees_an_autocast_that_switches_itself_off() -> None:
    assert probe.complaint(CPU, torch.float64) == "torch's autocast leaves its numbers in float32"


def test_the_probe_draws_nothing() -> None:
    before = torch.get_rng_state()
    probe.complaint(CPU, torch.float16)
    assert torch.equal(torch.get_rng_state(), before)


DEATHS = {
    "import os, signal; os.kill(os.getpid(), signal.SIGILL)": r"refuses an instruction .*AMX.* Set ONEDNN_MAX_CPU_ISA",
    "import sys; sys.exit('no such kernel')": "^no such kernel$",
    "import sys; assert sys.argv[1:] == ['cpu', 'bfloat16'], sys.argv": None,
}


@pytest.mark.parametrize("script", DEATHS)
def test_a_processor_that_refuses_its_instructions_ends_another_process(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "probe.py").write_text(script)
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "probe.py"))
    monkeypatch.setattr(module, "_reports_amx", lambda: True)
    found = module._complaint(CPU, torch.bfloat16)
    expected = DEATHS[script]
    assert found is None if expected is None else re.search(expected, found or "")


def test_bf16_is_served_or_refused_here_and_the_process_lives() -> None:
    pid = os.getpid()
    try:
        check_precision("bf16", CPU)
    except RecipeError as error:
        assert "precision = bf16: the CPU (" in str(error)  # noqa: PT017  (which of the two depends on the processor)
    assert os.getpid() == pid


# Products of float32 matrices


def flags() -> dict[str, Any]:
    """All that torch says of products in float32; an error where its older and newer flags do not agree."""
    backends: Any = torch.backends

    def asked(read: Any) -> Any:
        try:
            return read()
        except RuntimeError:
            return "mixed"

    return {
        "older": asked(torch.get_float32_matmul_precision),
        "cuda": backends.cuda.matmul.fp32_precision,
        "onednn": backends.mkldnn.matmul.fp32_precision,
        "cudnn older": asked(lambda: backends.cudnn.allow_tf32),
        "conv": backends.cudnn.conv.fp32_precision,
        "rnn": backends.cudnn.rnn.fp32_precision,
    }


@pytest.fixture
def as_at_the_start() -> Iterator[None]:
    """torch's flags as in a fresh process, before and after."""
    backends: Any = torch.backends

    def reset() -> None:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = True
        for place in (backends.cuda.matmul, backends.mkldnn.matmul):
            place.fp32_precision = "none"

    reset()
    yield
    reset()


@pytest.mark.usefixtures("as_at_the_start")
def test_tf32_is_on_within_and_off_again_after() -> None:
    before = flags()
    with matmul_precision("tf32"):
        within = flags()
    assert within == {
        "older": "high", "cuda": "tf32", "onednn": "tf32", "cudnn older": True, "conv": "tf32", "rnn": "tf32",
    }  # fmt: skip
    assert flags() == before
    assert before["older"] == "highest"


@pytest.mark.usefixtures("as_at_the_start")
@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_products_are_in_full_otherwise_whatever_was_set(name: Any) -> None:
    torch.set_float32_matmul_precision("medium")
    before = flags()
    with matmul_precision(name):
        assert torch.get_float32_matmul_precision() == "highest"
        assert flags()["cuda"] == flags()["onednn"] == "ieee"
        assert flags()["conv"] == before["conv"]
    assert flags() == before
    assert before["older"] == "medium"


def fail_under(name: Precision) -> None:
    with matmul_precision(name):
        assert flags()["older"] == ("high" if name == "tf32" else "highest")
        raise ZeroDivisionError


@pytest.mark.usefixtures("as_at_the_start")
@pytest.mark.parametrize(
    ("older", "cudnn", "newer"),
    list(itertools.product(["highest", "high", "medium"], [True, False], [None, "ieee", "tf32"])),
)
def test_what_the_process_had_set_is_put_back(older: str, cudnn: bool, newer: str | None) -> None:
    """Also where the newer flags alone were written, which makes reading the older ones an error in torch."""
    backends: Any = torch.backends
    torch.set_float32_matmul_precision(older)
    backends.cudnn.allow_tf32 = cudnn
    if newer is not None:
        backends.cuda.matmul.fp32_precision = newer
        backends.cudnn.conv.fp32_precision = newer
    before = flags()
    for name in ("tf32", "fp32"):
        with pytest.raises(ZeroDivisionError):
            fail_under(name)  # type: ignore[arg-type]
        after = flags()
        ruling = ("cuda", "onednn", "conv", "rnn")
        assert {key: after[key] for key in ruling} == {key: before[key] for key in ruling}
        assert all(after[key] == before[key] for key in ("older", "cudnn older") if before[key] != "mixed")
