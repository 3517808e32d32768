"""Linear layers whose weights stay in the half precision in which they are stored; what they compute is float32.

A decoder that says one token at a time reads every weight for each: on two cores a token waits for memory, and half
the bytes are half the wait. Nothing is rounded, because every model lies in float16 on the disk and is kept so until
its layers are packed.
"""

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ENGINE = "fbgemm"  # x86 with AVX2; elsewhere the layers stay as they are
SLOW_TIMES = 3.0
TRIES = 20


class PackedLinear(nn.Module):
    """A linear layer, its weights packed once as float16; sums are in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None if bias is None else bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """(n, ..., out) float32 of (n, ..., in) float32."""
        answer: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self._packed)
        return answer


class AdaptingLinear(nn.Linear):
    """A linear layer that takes on its input's precision, as on a GPU, where words are heard in half precision."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., out) of (..., in), both of one precision."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self.weight.to(x.dtype), bias)


class Uninitialised(TorchFunctionMode):
    """Modules built inside keep the memory they are given: weights that are loaded next need no random numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any other function as it is."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@lru_cache(maxsize=1)
def can_pack() -> bool:
    """This processor and this PyTorch have the layers, a small one computes what a plain one does, and not slowly.

    PyTorch means to give up the operators; without them the layers stay float32.
    """
    if ENGINE not in torch.backends.quantized.supported_engines:
        return False
    weight, x = torch.arange(32.0).reshape(4, 8), torch.ones(2, 8)
    try:
        return torch.equal(PackedLinear(weight)(x), x @ weight.T) and not _is_slow()
    except (AttributeError, RuntimeError):  # no such operator; or none for this processor
        return False


def _is_slow() -> bool:
    """One row through a layer of the decoder takes more than SLOW_TIMES a plain layer: packing is emulated here.

    The least of TRIES times each, in turn and on one thread, so that what else runs does not decide. Where packing has
    its instructions it takes 0.6 times a plain layer, and half the memory.
    """
    weight, x = torch.ones(1536, 384), torch.ones(1, 384)
    layer = PackedLinear(weight)
    with torch.inference_mode(), one_thread():
        took_s = [(_seconds(lambda: layer(x)), _seconds(lambda: x @ weight.T)) for _ in range(TRIES)]
    return min(packed_s for packed_s, _ in took_s) > SLOW_TIMES * min(plain_s for _, plain_s in took_s)


def _seconds(work: Callable[[], Tensor]) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


@contextmanager
def one_thread() -> Iterator[None]:
    """What is computed inside wakes no second thread.

    A token's layers are small: 19 to 38 us each, and 70 more to wake a thread that sleeps.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def packed(weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    """A linear layer of these (out, in) weights: packed where they are float16 and can be, else float32."""
    if can_pack() and weight.dtype == torch.float16 and weight.device.type == "cpu":
        return PackedLinear(weight, bias)
    plain = AdaptingLinear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    plain.load_state_dict({"weight": weight.float()} | ({} if bias is None else {"bias": bias.float()}), assign=True)
    return plain.requires_grad_(False)


def pack(model: nn.Module) -> None:
    """Replace every float16 linear layer inside by its packed twin; look-up tables stay so, all else becomes float32.

    On another device or processor the linear layers become float32 too.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                twin = packed(child.weight.detach(), None if child.bias is None else child.bias.detach())
                if isinstance(twin, PackedLinear):
                    setattr(parent, name, twin)
    for module in model.modules():
        if not isinstance(module, nn.Embedding):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.float()


def give_back() -> None:
    """Return to the system what loading has freed: C libraries keep it, 70 to 180 MB here."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
