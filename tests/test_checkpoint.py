"""Checkpoints of strangers: what is well is read exactly, what is hostile is refused without being run."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fev.codec.paper.imports.checkpoint import MAGIC, read_checkpoint
from fev.codec.paper.imports.pickles import MAX_STEPS, Machine
from fev.codec.paper.imports.stored import KINDS, Module, Storage, Stored
from fev.format.errors import FevError, ModelMismatchError
from golden import synth
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import nvlabs_pickle, saved

GOLDEN = Path(__file__).parent / "golden"
OLD, NEW = False, True


@pytest.mark.parametrize("zipped", [OLD, NEW])
def test_what_torch_saves_comes_back(zipped):
    whole = torch.arange(24.0).view(4, 6)
    content = {
        "view": whole[1:3, ::2], "turned": whole.t(), "half": torch.ones(3).half(), "long": torch.tensor(7),
        "empty": torch.zeros(0, 3), "flag": torch.tensor([True, False]), "param": torch.nn.Parameter(whole[0]),
        "opts": {"lr": 0.5, "name": "x", "layers": [1, None, True, (2, 3)]},
        "state": torch.nn.Linear(2, 3).state_dict(), "set": {1, 2},
    }  # fmt: skip
    found = read_checkpoint(saved(content, zipped))
    for key in ("view", "turned", "half", "long", "empty", "flag", "param"):
        assert torch.equal(found[key].tensor(), content[key]), key
        assert found[key].tensor().dtype == content[key].dtype
    assert found["opts"] == content["opts"] and found["set"] == {1, 2}
    assert list(found["state"]) == ["weight", "bias"]
    assert torch.equal(found["state"]["weight"].tensor(), content["state"]["weight"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("flavour", ["sg3", "ada"])
def test_a_snapshot_gives_its_state_dict_and_runs_nothing(protocol, flavour):
    found = read_checkpoint(nvlabs_pickle(protocol, flavour))
    generator = found["G_ema"]
    assert isinstance(generator, Module) and generator.class_name == "Generator"
    manifest = synth.load_manifest(str(GOLDEN / "nv_tiny64.json"))
    expected = synth.state_dict(manifest)
    tensors = generator.tensors()
    assert list(tensors) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(tensors[key].tensor().numpy(), value)
    synthesis = generator.state["_modules"]["synthesis"].state["_modules"]
    assert synthesis["b8"].state["_modules"]["conv0"].state["conv_clamp"] == 256
    assert synthesis["b4"].state["_modules"]["conv1"].state["act_gain"] == 2**0.5


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("flavour", ["sg3", "ada"])
def test_the_look_alikes_use_what_real_snapshots_do(protocol, flavour, monkeypatch):
    """The fixture counts the instructions and names of real ones; here each of them is met, and no other name."""
    named, steps = set(), set()
    name, step = Machine._named, Machine._step
    monkeypatch.setattr(Machine, "_named", lambda s, m, a: (named.add(f"{m}.{a}"), name(s, m, a))[1])
    monkeypatch.setattr(Machine, "_step", lambda s, n, a: (steps.add(n), step(s, n, a))[1])
    read_checkpoint(nvlabs_pickle(protocol, flavour))
    described = json.loads((GOLDEN / "nv_tiny64_pickle.json").read_text())[flavour]
    real = described["by_protocol"][str(protocol)]
    # a storage's own stream within the pickle is read by the same machine
    within = set(described["globals_inside_each_storage_blob"])
    assert named == set(real["globals"]) | within | {"collections.OrderedDict"}
    assert set(real["opcodes"]) <= steps | {"STOP"}


def test_buffers_that_are_not_kept_are_left_out():
    stored = read_checkpoint(saved({"x": torch.ones(2)}))["x"]
    module = Module("M", {"_buffers": {"a": stored, "b": stored}, "_non_persistent_buffers_set": {"a"}})
    assert list(module.tensors()) == ["b"]


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def stream(*words: bytes) -> bytes:
    return b"\x80\x02" + b"".join(words) + b"."


MARKER = "fev-was-here"
HOSTILE = {
    "os.system": lambda: pickle.dumps(Calls(os.system, f"touch {MARKER}")),
    "builtins.eval": lambda: pickle.dumps(Calls(eval, f"open({MARKER!r}, 'w')"), 4),
    "builtins.exec, protocol 2": lambda: pickle.dumps(Calls(exec, f"open({MARKER!r}, 'w')"), 2),
    "getattr": lambda: pickle.dumps(Calls(getattr, "x", "upper")),
    "a loader": lambda: pickle.dumps(Calls(torch.load, MARKER)),
    "a loader within a storage": lambda: pickle.dumps(
        {"x": Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(os.system, f"touch {MARKER}")))}
    ),
    "a storage within a storage": lambda: pickle.dumps(
        Calls(
            torch.storage._load_from_bytes,
            b"".join(pickle.dumps(v, 2) for v in (MAGIC, 1001, {"little_endian": True}))
            + pickle.dumps(Calls(torch.storage._load_from_bytes, b""), 2)
            + pickle.dumps([], 2),
        )
    ),
    "a call in torch.save": lambda: saved({"x": Calls(os.system, f"touch {MARKER}")}),
    "a call in an older torch.save": lambda: saved({"x": Calls(os.system, f"touch {MARKER}")}, OLD),
    "an attribute of a function": lambda: stream(b"ctorch._utils\n_rebuild_tensor_v2\n", b"N}U\x0c__defaults__)s\x86b"),
    "an attribute of a number": lambda: stream(b"K\x01}U\x01xK\x02sb"),
    "a name with dots": lambda: stream(b"ccollections\nOrderedDict.__init__.__globals__\n"),
    "an unlisted instruction": lambda: stream(b"(ios\nsystem\n"),
    "an extension": lambda: stream(b"\x82\x01"),
    "something outside": lambda: stream(b"U\x04spamQ"),
    "text instructions": lambda: b"\x80\x02I" + b"9" * 900 + b"\n.",
    "a memo far away": lambda: stream(b"Nr\xff\xff\xff\xff0Nj\xfe\xff\xff\xff"),
    "nothing on the stack": lambda: stream(b"0"),
    "no end": lambda: b"\x80\x02]q\x00",
    "a number of objects": lambda: stream(
        b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\nU\x02O8\x85RU\x08AAAAAAAAtR"
    ),
    "numbers of another byte order": lambda: pickle.dumps(np.dtype(">f8")),
    "too many instructions": lambda: stream(b"N0" * (MAX_STEPS // 2 + 1)),
    "a number of four gigabytes": lambda: b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "bytes beyond the end": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 61) + b".",
    "no pickle": lambda: b"\x00" * 64,
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_not_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = HOSTILE[name]()
    with pytest.raises(FevError):
        read_checkpoint(data)
    assert not list(tmp_path.iterdir())
    assert torch._utils._rebuild_tensor_v2.__defaults__ == (None,)


def test_keys_that_nest_without_end_are_refused_before_they_are_hashed():
    """The standard unpickler overflows the C stack on this one."""
    deep = b")" + b"\x85" * 500_000  # ((((...))))
    with pytest.raises(FevError, match="key"):
        read_checkpoint(stream(b"}", deep, b"Ns"))
    with pytest.raises(FevError, match="key"):
        read_checkpoint(b"\x80\x04\x8f(" + deep + b"\x90.")
    assert read_checkpoint(stream(deep)) is not None  # as a value it harms nobody


def test_modules_that_nest_without_end_are_refused():
    module = Module("M", {})
    module.state["_modules"] = {"again": module}
    with pytest.raises(ModelMismatchError, match="deep"):
        module.tensors()


def tensor_record(shape, strides, offset=0, count=4):
    storage = Storage(KINDS["torch.FloatStorage"], count, lambda: bytes(4 * count))
    return Stored(storage, offset, shape, strides)


@pytest.mark.parametrize(
    "record",
    [
        tensor_record((5,), (1,)),
        tensor_record((2, 3), (3, 1)),
        tensor_record((1 << 39, 1 << 39), (0, 0)),  # all of one element
        tensor_record((4,), (1,), offset=1),
        tensor_record((2,), (4,)),
        tensor_record((1 << 30,), (1,), count=1 << 30),
    ],
)
def test_a_tensor_larger_than_its_bytes_is_refused(record):
    if record.storage.count > 4:
        record.storage.load = lambda: b"abcd"
    with pytest.raises(ModelMismatchError):
        record.tensor()


def test_a_storage_that_claims_more_than_the_file_has_is_refused():
    data = bytearray(saved({"x": torch.arange(1000.0)}, OLD))
    with pytest.raises(FevError):
        read_checkpoint(bytes(data[:-1]))
    with pytest.raises(FevError):
        read_checkpoint(bytes(data).replace(struct.pack("<q", 1000), struct.pack("<q", 1 << 40)))


@pytest.mark.parametrize(("part", "old", "new"), [
    ("data.pkl", b"M\xe8\x03\x85", b"M\xe9\x03\x85"),  # the shape
    ("data.pkl", b"M\xe8\x03", b"J\xe8\x03\x00\x40"),  # every count
    ("data/0", bytes(4), b""),
])  # fmt: skip
def test_a_zip_file_whose_parts_contradict_each_other_is_refused(part, old, new):
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"x": torch.arange(1000.0)}))) as source,
        zipfile.ZipFile(out, "w") as archive,
    ):
        for name in source.namelist():
            data = source.read(name)
            changed = data.replace(old, new) if name.endswith(part) else data
            assert name.endswith(part) <= (changed != data)
            archive.writestr(name, changed)
    with pytest.raises(FevError):
        read_checkpoint(out.getvalue())["x"].tensor()


def test_a_zip_file_that_unfolds_is_refused():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        archive.writestr("a/data/0", bytes(1 << 20))
    with pytest.raises(ModelMismatchError, match="compressed"):
        read_checkpoint(out.getvalue())


@pytest.mark.parametrize("kind", ["zip", "older", "snapshot"])
def test_a_file_cut_short_is_refused(kind):
    content = collections.OrderedDict(a=torch.arange(50.0), b={"c": torch.zeros(3)})
    data = {"zip": lambda: saved(content), "older": lambda: saved(content, OLD), "snapshot": nvlabs_pickle}[kind]()
    for end in np.unique(np.linspace(0, len(data) - 1, 200).astype(int)):
        with pytest.raises(FevError):
            read_checkpoint(data[:end])


SAMPLES = [saved({"a": torch.arange(9.0), "b": [1, "x", {"y": 2.5}]}, z) for z in (OLD, NEW)]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_give_a_result_or_an_error_of_ours(data, changes):
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(changed)] = value
    try:
        found = read_checkpoint(bytes(changed))
        for value in found.values() if isinstance(found, dict) else ():
            if isinstance(value, Stored):
                value.tensor()
    except FevError:
        pass
