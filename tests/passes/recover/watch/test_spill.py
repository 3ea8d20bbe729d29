"""What a run keeps for its gradients comes back from the disk as it was."""

from __future__ import annotations

import tempfile

import pytest
import torch
import torch.nn.functional as F

from pimc.errors import UsageError
from pimc.passes.recover.twin.straight import driven, mean_square
from pimc.passes.recover.watch import spill
from pimc.passes.recover.watch.spill import spilling
from pimc.work.memory import Memory

FULL = Memory(1)


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_SMALL_BYTES", 0)


def gradients(memory: Memory, layout: torch.memory_format) -> list[torch.Tensor]:
    """Of a small network with all that recovery computes with, under a budget."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 9, 9).to(memory_format=layout).requires_grad_()
    kernel = torch.randn(8, 3, 3, 3, requires_grad=True)
    gain = torch.ones(8, requires_grad=True)
    with spilling(memory):
        y = F.conv2d(driven(x, 0.1, (-7, 7)), kernel)
        y = F.relu(y * gain.view(1, -1, 1, 1))
        y = y.transpose(1, 3) + y.mean().exp()
        loss = mean_square(y) + F.log_softmax(y.flatten(1), dim=1).square().mean()
    return list(torch.autograd.grad(loss, [x, kernel, gain]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_the_same_bit_by_bit(layout: torch.memory_format) -> None:
    kept, laid = gradients(Memory(), layout), gradients(FULL, layout)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(kept, laid, strict=True))


def test_what_finds_room_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", None)  # no file is asked for
    gradients(Memory(1 << 60), torch.contiguous_format)
    with pytest.raises(TypeError):
        gradients(FULL, torch.contiguous_format)


def test_a_disk_that_is_full_costs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def close(self) -> None:
            pass

        def seek(self, place: int) -> None:
            pass

        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    whole = gradients(Memory(), torch.contiguous_format)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: Full())
    found = gradients(FULL, torch.contiguous_format)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(whole, found, strict=True))


def test_values_in_memory_are_no_longer_held() -> None:
    """Under a full budget the graph keeps nothing of what was computed."""
    x = torch.randn(1000, requires_grad=True)
    held: list[torch.Tensor] = []
    with spilling(FULL):
        y = x.exp()
        held.append(y.detach())
        storage = y.untyped_storage()._weak_ref()
        total = y.sum()
        del y, held
    assert torch.UntypedStorage._expired(storage)
    total.backward()
    assert x.grad is not None
    assert torch.equal(x.grad, x.detach().exp())


def test_what_does_not_come_back_whole_is_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    written = spill._written

    def cut_short(laid: spill._Laid, value: torch.Tensor) -> bool:
        done = written(laid, value)
        laid.file.raw.truncate(laid.place + value.nbytes // 2)
        return done

    monkeypatch.setattr(spill, "_written", cut_short)
    with pytest.raises(UsageError, match="did not come back"):
        gradients(FULL, torch.contiguous_format)
