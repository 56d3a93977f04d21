"""Look-alikes of the files that others published, made from the golden manifests: structure and synthetic weights."""

from __future__ import annotations

import collections
import io
import json
import pickle
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from golden import synth

GOLDEN = Path(__file__).parent / "golden"
SOURCE = "raise SystemExit('the source text of a snapshot was executed')" + "\n# as long as a real one" * 20


class Persistent:
    """Pickles as a call of torch_utils.persistence._reconstruct_persistent_obj."""

    def __init__(self, class_name: str, state: dict):
        self.meta = {
            "type": "class", "version": 6, "module_src": SOURCE, "class_name": class_name, "state": state,
        }  # fmt: skip

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


@contextmanager
def foreign_modules():
    """Modules of NVlabs's repositories by name, so that the standard pickler can refer to them."""
    names = {}

    def reconstruct(meta):
        raise SystemExit("a snapshot was unpickled for real")

    class EasyDict(dict):
        pass

    for name, attribute, value in (
        ("torch_utils.persistence", "_reconstruct_persistent_obj", reconstruct),
        ("dnnlib.util", "EasyDict", EasyDict),
    ):
        package = name.split(".")[0]
        names[package] = types.ModuleType(package)
        module = names[name] = types.ModuleType(name)
        value.__module__, value.__qualname__ = name, attribute
        setattr(module, attribute, value)
    before = {k: sys.modules.get(k) for k in names}
    sys.modules.update(names)
    try:
        yield EasyDict
    finally:
        for key, value in before.items():
            if value is None:
                del sys.modules[key]
            else:
                sys.modules[key] = value


def tree(described: dict, weights: dict[str, torch.Tensor], prefix: str, easy) -> Persistent:
    """A module as the manifest describes it, with the weights of the state dict."""

    def attribute(value):
        if isinstance(value, str) and value.startswith("<numpy.float64"):
            return np.float64(value.split("(")[1].split(")")[0])
        if isinstance(value, dict) and set(value) == {"<EasyDict>"}:
            return easy(value["<EasyDict>"])
        return value

    state = {k: attribute(v) for k, v in described.get("attributes", {}).items()}
    state["training"] = False
    state["_parameters"] = collections.OrderedDict(
        (k, torch.nn.Parameter(weights[f"{prefix}{k}"])) for k in described.get("_parameters", {})
    )
    state["_buffers"] = collections.OrderedDict((k, weights[f"{prefix}{k}"]) for k in described.get("_buffers", {}))
    state["_non_persistent_buffers_set"] = set()
    state["_forward_hooks"] = collections.OrderedDict()
    state["_modules"] = collections.OrderedDict(
        (k, tree(v, weights, f"{prefix}{k}.", easy)) for k, v in described.get("_modules", {}).items()
    )
    return Persistent(described["class_name"], state)


def nvlabs_pickle(protocol: int = 4, flavour: str = "sg3") -> bytes:
    """The snapshot of nv_tiny64.  flavour: sg3 or ada."""
    described = json.loads((GOLDEN / "nv_tiny64_pickle.json").read_text())
    generator = described[flavour].get("G_ema") or described["G_ema"]
    manifest = synth.load_manifest(str(GOLDEN / "nv_tiny64.json"))
    weights = {k: torch.from_numpy(np.array(v)) for k, v in synth.state_dict(manifest).items()}
    with foreign_modules() as easy:
        content = {
            "G": None, "D": None, "G_ema": tree(generator, weights, "", easy), "augment_pipe": None,
            "training_set_kwargs": easy(path="ffhq.zip", resolution=64),
        }  # fmt: skip
        return pickle.dumps(content, protocol)


def saved(content: object, zipped: bool = True) -> bytes:
    """What torch.save writes, now or before zip files."""
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def network_state(name: str) -> dict[str, torch.Tensor]:
    manifest = synth.load_manifest(str(GOLDEN / f"{name}.json"))
    return {k: torch.from_numpy(np.array(v)) for k, v in synth.state_dict(manifest).items()}
