"""What a run reads, known by what it holds: found on this machine, or kept once it was sent.

What came from another machine lies in the cache, ``inputs/KEY/NAME``, where KEY is made of what it
holds; an entry is whole or absent, and has one maker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from mmsa_suparc.data import archives, fingerprints
from mmsa_suparc.data.archives import Archive
from mmsa_suparc.data.cache import cache_folder, key_of, one_maker, remove, size_of
from mmsa_suparc.data.files import write_text
from mmsa_suparc.errors import DiskError, UserError


@dataclass(frozen=True)
class Input:
    """A feature file or a text encoder that the asking machine has.

    Args:
        key: under which a configuration names it: ``featurePath``, ``pretrained``.
        name: where the asking machine has it: an absolute path, or of an encoder its name on the
            hub.
        fingerprint: of what it holds; of a hub's encoder, its revision.
        below: its place below a data root, where it has one.
    """

    key: str
    name: str
    fingerprint: str
    below: str = ""

    @property
    def is_on_hub(self) -> bool:
        """Whether it is a name on the hub rather than a file or folder."""
        return not Path(self.name).is_absolute()

    def size(self) -> int:
        """Bytes, on the asking machine."""
        return sum(path.stat().st_size for path in self._files())

    def pack(self) -> Archive:
        """It, to be sent from the asking machine: a file or folder under its own name, or what is
        in the folder of a hub's revision."""
        source = self._source()
        return archives.pack(source if self.is_on_hub else source.parent, self._files())

    def _files(self) -> list[Path]:
        source = self._source()
        return [each for each in (source, *sorted(source.rglob("*"))) if each.is_file()]

    def _source(self) -> Path:
        source = _on_hub(self.name, constants.HF_HUB_CACHE) if self.is_on_hub else Path(self.name)
        if source is None:
            raise UserError(f"text encoder {self.name}: no longer in the local cache")
        return source


@dataclass(frozen=True)
class Found:
    """An input on this machine.

    Args:
        name: what it is called here: a path, or a name on the hub.
        hub: the hub's cache that has it, where it is on the hub.
    """

    name: str
    hub: str = ""


def find(wanted: Input, data_root: str | None = None) -> Found | None:
    """Where this machine has it: at the same path, below its own data root, or in the cache.

    Args:
        wanted: what must be held, to the byte.
        data_root: this machine's.
    """
    entry = _entry(wanted)
    if wanted.is_on_hub:
        for hub in (constants.HF_HUB_CACHE, entry):
            found = _on_hub(wanted.name, hub)
            if found is not None and found.name == wanted.fingerprint:
                return Found(wanted.name, str(hub))
        return None
    paths = [Path(wanted.name), *entry.glob("[!.]*")]
    if data_root and wanted.below:
        paths.insert(1, Path(data_root).expanduser().absolute() / wanted.below)
    return next((Found(str(path)) for path in paths if _holds(path, wanted.fingerprint)), None)


def keep(wanted: Input, receive: Callable[[], Archive]) -> bool:
    """Put into the cache what was sent, once for all processes of this machine.

    Args:
        wanted: what it has to be.
        receive: gives it; called only where no other process has been first.

    Returns:
        Whether it was received here.

    Raises:
        UserError: what came is something else; nothing is kept.
        DiskError: the cache cannot be written; nothing is kept.
    """
    entry = _entry(wanted)
    with one_maker(entry.name):
        if find(wanted) is not None:
            return False
        temporary = entry.with_name(f".new.{entry.name}")
        remove(temporary)
        try:
            if wanted.is_on_hub:
                _keep_revision(temporary, wanted, receive())
            else:
                archives.unpack(receive(), temporary)
                found = list(temporary.iterdir())
                if len(found) != 1 or not _holds(found[0], wanted.fingerprint):
                    raise UserError(f"{wanted.name}: what was sent is something else now")
            remove(entry)  # what is there is broken
            temporary.rename(entry)
        except OSError as error:
            raise DiskError(f"cannot write {entry}: {error.strerror or error}") from None
        finally:
            remove(temporary)
    return True


def _keep_revision(cache: Path, wanted: Input, sent: Archive) -> None:
    """As the hub's own cache has it, with this revision as the newest."""
    folder = cache / f"models--{wanted.name.replace('/', '--')}"
    archives.unpack(sent, folder / "snapshots" / wanted.fingerprint)
    write_text(folder / "refs" / "main", wanted.fingerprint)


def kept() -> list[Path]:
    """What was sent to this machine: the folder of each."""
    return sorted(cache_folder("inputs").glob("[!.]*"))


def clear() -> int:
    """Remove it; returns the bytes freed."""
    freed = 0
    for folder in kept():
        freed += size_of(folder)
        remove(folder)
    return freed


def _entry(wanted: Input) -> Path:
    return cache_folder("inputs") / key_of(wanted.is_on_hub and wanted.name, wanted.fingerprint)


def _holds(path: Path, fingerprint: str) -> bool:
    """Whether a file or folder holds this, by all its bytes."""
    try:
        if path.is_dir():
            return fingerprints.of_folder(path) == fingerprint
        return path.is_file() and fingerprints.of_file(path) == fingerprint
    except OSError:
        return False


def _on_hub(name: str, hub: str | Path) -> Path | None:
    """The files of an encoder in a cache of the hub: a folder named by its revision."""
    found = try_to_load_from_cache(name, "config.json", cache_dir=hub)
    return Path(found).parent if isinstance(found, str) else None
