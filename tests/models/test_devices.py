import pytest
import torch

from asr_kd.errors import AsrKdError
from asr_kd.models.devices import resolve_device, resolve_precision


def test_named_devices_and_precisions() -> None:
    cpu = resolve_device("cpu")
    assert cpu == torch.device("cpu")
    assert resolve_precision("bf16", cpu, "precision") == torch.bfloat16
    assert resolve_precision("fp32", cpu, "precision") == torch.float32
    assert resolve_precision("auto", cpu, "precision") in {torch.bfloat16, torch.float32}
    assert resolve_device("auto").type in {"cpu", "cuda"}


@pytest.mark.parametrize("name", ["gpu", "meta", ""])
def test_unknown_devices_are_refused_by_name(name: str) -> None:
    with pytest.raises(AsrKdError, match=f"device={name}"):
        resolve_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(AsrKdError, match="device=cuda: this machine has no CUDA device"):
        resolve_device("cuda")


def test_one_of_several_gpus_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(resolve_device("cuda:1")) == "cuda:1"
    with pytest.raises(AsrKdError, match="device=cuda:2: this machine has 2 CUDA devices"):
        resolve_device("cuda:2")
