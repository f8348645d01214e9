"""Several processes that train one model, through `torch.distributed` and `torchrun`."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def place() -> tuple[int, int]:
    """Give the number of this process and how many there are: 0 and 1 without `torchrun`."""
    shared = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if shared else (0, 1)


@contextmanager
def joined(name: str | None) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, if it did; give this one's device, or a GPU."""
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if "WORLD_SIZE" in os.environ:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def from_first(value: Any) -> Any:
    """Give the value that the first process has."""
    box = [value]
    if place()[1] > 1:
        dist.broadcast_object_list(box)
    return box[0]


def add_up(parts: Iterable[Tensor | None]) -> None:
    """Add up each of these tensors over all processes, in place."""
    for part in parts if place()[1] > 1 else []:
        if part is not None:
            dist.all_reduce(part)
