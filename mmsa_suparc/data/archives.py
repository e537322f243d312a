"""A folder as one array of bytes that can be sent, and back: whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmsa_suparc.data.cache import cache_folder, remove
from mmsa_suparc.errors import DiskError, UserError


@dataclass(frozen=True)
class Archive:
    """A tar file's bytes, mapped rather than read, and their checksum."""

    content: np.ndarray = field(repr=False)  # (bytes,) uint8
    checksum: str  # SHA-256


def pack(root: Path, files: Iterable[Path]) -> Archive:
    """Files below a folder, links followed; they may change and go meanwhile.

    Args:
        root: the folder that their names begin below.
        files: which; one that has gone is left out.

    Raises:
        DiskError: a file cannot be read, or there is no room for the archive.
    """
    try:
        with tempfile.TemporaryFile(dir=cache_folder()) as target:
            with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for path in files:
                    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                        member = archive.gettarinfo(
                            arcname=path.relative_to(root).as_posix(), fileobj=file
                        )
                        # A second name of a file is a file too, not a link to the first.
                        member.type, member.linkname = tarfile.REGTYPE, ""
                        member.size = os.fstat(file.fileno()).st_size
                        archive.addfile(member, file)
            target.flush()
            content = np.asarray(np.memmap(target, np.uint8, "r"))
    except OSError as error:
        raise DiskError(f"cannot pack {root}: {error.strerror or error}") from None
    return Archive(content, _checksum(content))


def unpack(archive: Archive, folder: Path) -> None:
    """Its files, in a new folder; one that could not be filled stays as far as it came.

    Whoever sent it can write nowhere else: neither links nor absolute names, nor names with
    ``..``, nor anything but files and folders.

    Raises:
        UserError: it is not whole, or holds something else.
        DiskError: the folder is there, or cannot be written.
    """
    if _checksum(archive.content) != archive.checksum:
        raise UserError(f"{folder}: what came for it is not whole; run the same command again")
    if not hasattr(tarfile, "data_filter"):
        raise UserError("unpacking safely needs Python 3.10.12, 3.11.4, 3.12 or newer")
    try:
        folder.mkdir(parents=True)
        with tempfile.TemporaryFile(dir=folder.parent) as file:
            archive.content.tofile(file)
            file.seek(0)
            with tarfile.open(fileobj=file) as members:
                members.extractall(folder, filter=_plain)
    except tarfile.TarError as error:
        raise UserError(f"{folder}: what came for it is no archive of files ({error})") from None
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror or error}") from None


def put_in_place(archive: Archive, folder: Path) -> None:
    """Its files instead of a folder's: whole, or the folder is as it was.

    Raises:
        UserError, DiskError: as :func:`unpack`.
    """
    for left in folder.parent.glob(f".{folder.name}.*"):  # by a killed process
        remove(left)
    token = secrets.token_hex(4)
    new, old = (folder.with_name(f".{folder.name}.{token}.{which}") for which in ("new", "old"))
    try:
        unpack(archive, new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        remove(new)
        remove(old)


def _plain(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    if not (member.isreg() or member.isdir()):
        raise tarfile.ReadError(f"{member.name!r} is neither file nor folder")
    return tarfile.data_filter(member, folder)


def _checksum(content: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(content).data).hexdigest()
