"""`fev-models`: the models that fev can use, and the way in for networks that a user brings.

    fev-models list                 what there is
    fev-models import FILE...       official files -> one model (nothing in them is executed)
    fev-models verify [NAME...]     compare with the digests that were written down
    fev-models path [NAME]          where a model lies

The official networks cannot be shipped with fev: their licences forbid it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..codec.model import library
from ..format.errors import FevError, UsageError
from .common import output_file, parser, print_json, progress, run, say

if TYPE_CHECKING:
    from ..codec.model.stylespace import Basis
    from ..codec.paper.imports.official import ImportedNetwork

BLOCK = 1 << 22
DEFAULT = "ffhq-1024"
OPTIONAL = ("directions", "lpips-vgg", "lpips-squeeze")  # not missed where they are not there


def digest(path: Path) -> str:
    out = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            out.update(block)
    return out.hexdigest()


def described(name: str) -> dict[str, Any]:
    """What `list` says of one model."""
    path, sha256 = library.find(name)
    row: dict[str, Any] = {
        "name": name, "built_in": path.parent == library.BUILT_IN, "sha256": sha256, "bytes": path.stat().st_size,
        "path": str(path),
    }  # fmt: skip
    if not row["built_in"]:
        from ..codec.paper.imports.official import NETWORKS
        from ..codec.paper.networks import Networks

        networks = Networks(name)
        row["networks"] = networks.names
        row["bytes"] = sum(file.path.stat().st_size for file in networks.files)
        extras = [e for file in networks.files for e in file.config.get("extra", {}).items()]
        stated = {network: extra.get("licence") for network, extra in extras}
        row["licence"] = {n: stated.get(n) or NETWORKS[n].licence for n in networks.names}
    return row


def show(as_json: bool) -> int:
    from ..codec.paper.imports.official import NETWORKS, missing

    rows = [described(name) for name in [*library.built_in(), *library.imported()]]
    if as_json:
        print_json({"folder": str(library.folder()), "models": rows})
        return 0
    for row in rows:
        where = "in the package" if row["built_in"] else ", ".join(row["networks"])
        print(f"{row['name']:<16}{row['bytes'] / 1e6:>9.1f} MB  {(row['sha256'] or '?')[:16]}  {where}")
        for network in NETWORKS if not row["built_in"] else ():
            if network not in row["networks"] and network not in OPTIONAL:
                print(f"{'':<16}not there: {missing(network)}")
    return 0


def default_name(found: dict[str, ImportedNetwork]) -> str:
    """What to call a model by its generator; networks without one go to the model that there is.

    A generator of 1024 pixels in config-f is taken for that of FFHQ, whose channels the paper names.
    """
    from ..codec.model.stylespace import is_config_f

    config = found["generator"].generator if "generator" in found else None
    if config is not None:
        return DEFAULT if is_config_f(config) else f"stylegan2-{config.resolution}"
    there = library.imported()
    if len(there) > 1 and DEFAULT not in there:
        raise UsageError(f"no generator is among the files: --name says which model they belong to, {', '.join(there)}")
    return there[0] if len(there) == 1 else DEFAULT


def bring(files: list[str], name: str | None, force: bool, as_json: bool, basis: str | None = None) -> int:
    """Official files into the user's folder, beside what was imported under the name before."""
    from ..codec.model.build import build_generator
    from ..codec.paper.imports.official import NETWORKS, ImportedNetwork, licence_of, pack_networks, read_official
    from ..codec.paper.networks import NetworkFile, files_of

    if name is not None:
        library.check_name(name)
        if name in library.built_in():
            raise UsageError(f"{name} is the name of a model in the package")
    found: dict[str, ImportedNetwork] = {}
    with progress(len(files), "import", "file") as bar:
        for file in files:
            for item in read_official(file):
                found.setdefault(item.network, item)  # of two generators the one named first
            bar.update(1)
    name = default_name(found) if name is None else name
    new = set(found)
    sources = _sources(name)
    for path in files_of(name):
        held = NetworkFile(path)
        for network in held.networks:
            if network in found and not force:
                raise FevError(f"{name} has {network} already; --force replaces it")
            if network not in found:
                config = build_generator(held.config).config if network == "generator" else None
                extra = held.config.get("extra", {}).get(network)
                found[network] = ImportedNetwork(network, "", "", 0, held.tensors(network), config, extra)
    if "generator" not in found:
        raise FevError("no generator is among the files, and none was imported before")
    known = basis_of(basis, name)
    folder = library.folder()
    folder.mkdir(parents=True, exist_ok=True)
    stem = str(folder / name)
    sha256 = ""
    for both, ending in ((True, ""), (False, library.ENCODER)):
        if any(NETWORKS[n].both == both for n in found):
            data = pack_networks(found, both, known)
            with output_file(f"{stem}{ending}{library.ENDING}", True) as out:
                out.write(data)
            if both:
                sha256 = hashlib.sha256(data).hexdigest()
            with output_file(f"{stem}{ending}.sha256", True) as out:
                out.write(f"{hashlib.sha256(data).hexdigest()}  {name}{ending}{library.ENDING}\n".encode())
    sources |= {
        n: {"sha256": f.sha256, "bytes": f.bytes, "container": f.container, "licence": licence_of(f)}
        for n, f in found.items()
        if n in new
    }
    with output_file(f"{stem}.sources.json", True) as out:
        out.write(json.dumps(sources, indent=1, sort_keys=True).encode())
    if as_json:
        print_json({"name": name, "sha256": sha256, "networks": sorted(found), "imported": sorted(new)})
        return 0
    for network in sorted(new):
        print(f"{network}: {NETWORKS[network].purpose}; licence: {licence_of(found[network])}")
    print(f"{name} {sha256}")
    return 0


def basis_of(path: str | None, name: str) -> Basis | None:
    """The basis that the user names, or the one that the model has already."""
    from ..codec.model.stylespace import Basis
    from ..codec.paper.networks import NetworkFile, files_of

    if path:
        try:
            return Basis.read(Path(path).read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise FevError(f"{path}: cannot be read: {error}") from error
    for held in map(NetworkFile, files_of(name)[:1]):
        if held.config.get("channels"):
            pose = held.tensors("pose").get("directions")
            basis = Basis.read(json.dumps({k: held.config.get(k) for k in ("channels", "attributes")}))
            return Basis(basis.channels, basis.attributes, pose)
    return None


def _sources(name: str) -> dict[str, Any]:
    try:
        value = json.loads((library.folder() / f"{name}.sources.json").read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def verify(names: list[str], as_json: bool) -> int:
    """0 where every file has the digest that was written down when it was made."""
    rows = []
    for name in names or [*library.built_in(), *library.imported()]:
        path, _ = library.find(name)
        beside = path.with_name(f"{name}{library.ENCODER}{library.ENDING}")
        for file in (path, beside):
            if file.is_file():
                expected = library.digest_beside(file)
                rows.append({"file": str(file), "ok": expected is not None and digest(file) == expected})
    good = all(row["ok"] for row in rows)
    if as_json:
        print_json({"ok": good, "files": rows})
    else:
        for row in rows:
            if row["ok"]:
                print(f"ok: {row['file']}")
            else:
                say(f"{row['file']}: not what was written down when it was made")
    return 0 if good else 1


def work(arguments: list[str] | None = None) -> int:
    """The command.  Returns its exit status; raises FevError where a file is bad."""
    options = parser("fev-models", "List, import and check the models that fev can use.")
    commands = options.add_subparsers(dest="command", required=True, metavar="list|import|verify|path")
    listing = commands.add_parser("list", help="what models there are, and which networks each lacks")
    bringing = commands.add_parser("import", help="make a model of official files; nothing in them is executed")
    bringing.add_argument("files", nargs="+", metavar="FILE", help=".pt, .pth or .pkl as published")
    bringing.add_argument(
        "--name",
        help=f"what to call the model (default: {DEFAULT} for that generator, stylegan2-N for others of N pixels)",
    )
    bringing.add_argument("--basis", metavar="FILE", help="JSON with the channels of another generator than config-f")
    bringing.add_argument("--force", "-f", action="store_true", help="replace networks imported before")
    checking = commands.add_parser("verify", help="compare files with their digests; exit 1 where one differs")
    checking.add_argument("names", nargs="*", metavar="NAME", help="models (default: all)")
    placing = commands.add_parser("path", help="where a model lies, or the folder of imported ones")
    placing.add_argument("name", nargs="?", metavar="NAME")
    for command in (listing, bringing, checking):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = options.parse_args(arguments)
    if chosen.command == "list":
        return show(chosen.json)
    if chosen.command == "import":
        return bring(chosen.files, chosen.name, chosen.force, chosen.json, chosen.basis)
    if chosen.command == "verify":
        return verify(chosen.names, chosen.json)
    print(library.find(chosen.name)[0] if chosen.name else library.folder())
    return 0


def main() -> None:
    """Entry point. Exit 0 good, 1 a file is bad, 2 wrong usage."""
    run(work)


if __name__ == "__main__":
    main()
