"""A device that is not there: tensors that say they live on `pretend:0`, and refuse what a GPU refuses.

1. a tensor on the device is a wrapper around one on the CPU; every operation is computed on what is wrapped;
2. an operation on tensors of several devices raises, as on a GPU: but for numbers without axes, copies, and indices that
   lie on the CPU;
3. making a tensor there, moving one there and back, works as for any device; so does the gradient.

So a model moved to it shows every place where a tensor is made on the wrong device, without a GPU in the machine. What it
cannot show: that a kernel exists there, and rounding. It rests on torch's own support for backends written in Python.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
_aten = torch.ops.aten
# operations that may read from another device than they write to
_ACROSS = {
    "aten::_to_copy",
    "aten::copy_",
    "aten::index_put_",
    "aten::index_put",
    "aten::index",
    "aten::_index_put_impl_",
}


class Held(torch.Tensor):
    """A tensor on the device; `raw` is what it holds, on the CPU."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> "Held":
        made = torch.Tensor._make_wrapper_subclass(
            cls, raw.shape, strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype,
            layout=raw.layout, device=f"{NAME}:0", requires_grad=False,
        )  # fmt: skip
        made.raw = raw
        return made

    def __repr__(self) -> str:
        return f"Held({self.raw})"

    def tolist(self):
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    leaves, _ = tree_flatten((args, kwargs))
    tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
    held = [x for x in tensors if isinstance(x, Held)]
    device = _device(args, kwargs)
    name = func.name().split(".")[0]
    if held and name not in _ACROSS:
        plain = [x for x in tensors if not isinstance(x, Held) and x.dim()]
        if plain:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu, in {name} "
                f"of shapes {[tuple(x.shape) for x in tensors]}"
            )
    there = bool(held) if device is None else device.type == NAME
    if held and name == "aten::copy_":
        there = isinstance(args[0], Held)
    if held and name == "aten::index" and not isinstance(args[0], Held):
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        )
    generator = kwargs.get("generator")
    if there and generator is not None and generator.device.type != NAME:
        raise RuntimeError(
            f"Expected a {NAME!r} device type for generator but found {generator.device.type!r}"
        )
    raw = tree_map(_bare, (args, kwargs))
    if not there:
        return func(*raw[0], **raw[1])
    given = {id(x.raw): x for x in held}  # an operation in place gives back what it was given
    with (
        torch.inference_mode(False),
        torch.no_grad(),
    ):  # views of tensors made outside could not be wrapped inside
        found = func(*raw[0], **raw[1])
        return tree_map(lambda x: _wrapped(x, given) if isinstance(x, torch.Tensor) else x, found)


def _device(args, kwargs) -> torch.device | None:
    """The device that an operation is asked for, by name or by place."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    return next((x for x in args if isinstance(x, torch.device)), None)


def _bare(x):
    if isinstance(x, torch.device):
        return torch.device("cpu")
    return x.raw if isinstance(x, Held) else x


def _wrapped(x: torch.Tensor, given: dict[int, Held]) -> Held:
    known = given.get(id(x))
    return Held(x) if known is None else known


class Pretend(TorchDispatchMode):
    """While it lasts, tensors can be made on the device and moved to it."""

    def __enter__(self):
        self._lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) then comes past here too
        return super().__enter__()

    def __exit__(self, *failure):
        super().__exit__(*failure)
        torch._C._set_only_lift_cpu_tensors(self._lifted)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = _device(args, kwargs)
        if device is not None and device.type == NAME:
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


def ready() -> None:
    """Register the device with torch, once a process."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME)


def differentiates() -> bool:
    """Whether gradients can be taken there: torch counts its devices at the first gradient of a process, and never again."""
    try:
        with Pretend():
            x = torch.ones(2).to(NAME).requires_grad_(True)
            torch.autograd.grad((x * x).sum(), x)
    except RuntimeError as e:
        if "device_ready_queues_" not in str(e):
            raise
        return False
    return True


def moved(module: torch.nn.Module, device: str = NAME) -> torch.nn.Module:
    """The module on the device, tied weights still tied, no gradient wanted (as the loader gives it)."""
    module.to(device)
    if hasattr(module, "tie_weights"):
        module.tie_weights()
    return module.requires_grad_(False)
