"""What travels between machines: archives that are put in place whole, inputs known by content."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from mmsa_suparc.data import archives, fingerprints, inputs
from mmsa_suparc.data.archives import Archive
from mmsa_suparc.data.inputs import Input
from mmsa_suparc.errors import UserError


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def packed(folder: Path) -> Archive:
    return archives.pack(folder, [path for path in folder.rglob("*") if path.is_file()])


def archive_of(content: bytes) -> Archive:
    return Archive(np.frombuffer(content, np.uint8), hashlib.sha256(content).hexdigest())


def test_a_folder_comes_out_as_it_went_in_and_takes_the_other_s_place() -> None:
    files = {"a": "1", "deep/er/b": "2"}
    source = written(Path("source"), files)
    (source / "link").symlink_to("a")
    os.link(source / "a", source / "second name")
    archive = archives.pack(source, [*(p for p in source.rglob("*") if p.is_file()), source / "no"])
    target = written(Path("out/target"), {"old": "0"})
    archives.put_in_place(archive, target)
    assert contents(target) == {**files, "link": "1", "second name": "1"}
    assert not (target / "link").is_symlink()
    assert [path.name for path in Path("out").iterdir()] == ["target"]


def test_half_an_archive_leaves_everything_as_it_was() -> None:
    archive = packed(written(Path("source"), {"a": "1" * 20_000, "b": "2"}))
    target = written(Path("out/target"), {"old": "0"})
    written(Path("out/.target.killed.new"), {"left": "by a killed process"})
    for half in (
        replace(archive, content=archive.content[:15_000]),
        archive_of(archive.content[:15_000].tobytes()),
        archive_of(b"no archive" * 100),
    ):
        with pytest.raises(UserError, match="what came for it is no"):
            archives.put_in_place(half, target)
        assert contents(target) == {"old": "0"}
        assert [path.name for path in Path("out").iterdir()] == ["target"]


@pytest.mark.parametrize("kind", ["../up", "/tmp/absolute", "symlink", "hard link", "pipe", "up"])
def test_whoever_sent_it_writes_nowhere_else(kind: str, tmp_path: Path) -> None:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        member = tarfile.TarInfo(kind)
        types = {"symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE}
        member.type = types.get(kind, tarfile.REGTYPE)
        member.linkname = str(tmp_path / "secret") if "link" in kind else ""
        if kind == "/tmp/absolute":
            member.name = str(tmp_path / "absolute")
        member.size = 4 if member.isreg() else 0
        tar.addfile(member, io.BytesIO(b"evil"))
    target = tmp_path / "in" / "target"
    if kind in ("up", "/tmp/absolute"):  # an absolute name loses its first slash
        archives.put_in_place(archive_of(memory.getvalue()), target)
        assert [path for path in target.rglob("*") if path.is_file()]
    else:
        with pytest.raises(UserError, match="no archive of files"):
            archives.put_in_place(archive_of(memory.getvalue()), target)
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMSA_SUPARC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def of_path(path: Path, key: str = "featurePath", below: str = "") -> Input:
    fingerprint = fingerprints.of_folder(path) if path.is_dir() else fingerprints.of_file(path)
    return Input(key, str(path.absolute()), fingerprint, below)


def test_an_input_is_found_by_what_it_holds(own_cache: Path) -> None:
    file = written(Path("asks/MOSI"), {"clips.pkl": "clips"}) / "clips.pkl"
    wanted = of_path(file, below="MOSI/clips.pkl")
    assert inputs.find(wanted) == inputs.Found(str(file.absolute()))
    sent = wanted.pack()
    assert wanted.size() == 5
    file.unlink()
    # In this machine's own data root, if it is the same there.
    root = written(Path("here"), {"MOSI/clips.pkl": "other"})
    assert inputs.find(wanted, str(root)) is None
    (root / "MOSI/clips.pkl").write_text("clips")
    assert inputs.find(wanted, str(root)) == inputs.Found(str(root.absolute() / "MOSI/clips.pkl"))
    assert inputs.find(wanted) is None
    # Once it was sent, under whatever name it is asked for.
    assert inputs.keep(wanted, lambda: sent)
    for each in (wanted, replace(wanted, name="/nowhere/else.pkl")):
        place = inputs.find(each)
        assert place is not None
        assert Path(place.name).read_text() == "clips"
    assert len(inputs.kept()) == 1
    assert inputs.clear() == 5
    assert inputs.find(wanted) is None


def test_several_processes_receive_a_folder_once(own_cache: Path) -> None:
    folder = written(Path("asks/encoder"), {"config.json": "{}", ".hidden": "h", "deep/w": "1"})
    wanted, calls = of_path(folder, "pretrained"), []
    sent = wanted.pack()
    folder.rename("elsewhere")

    def receive() -> Archive:
        calls.append(1)
        return sent

    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: inputs.keep(wanted, receive), range(8)))
    assert sorted(kept) == [False] * 7 + [True]
    assert len(calls) == 1
    place = inputs.find(wanted)
    assert place is not None
    assert contents(Path(place.name)) == {"config.json": "{}", ".hidden": "h", "deep/w": "1"}


def test_what_was_changed_on_the_way_is_not_kept(own_cache: Path) -> None:
    file = written(Path("asks"), {"clips.pkl": "clips"}) / "clips.pkl"
    wanted = of_path(file)
    file.write_text("CLIPS")
    sent = wanted.pack()
    with pytest.raises(UserError, match=r"clips\.pkl: what was sent is something else now"):
        inputs.keep(wanted, lambda: sent)
    assert list((own_cache / "inputs").iterdir()) == []


def test_a_hub_s_encoder_keeps_its_name_and_revision(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asks = tmp_path / "asks"
    revision = "0123456789abcdef0123456789abcdef01234567"
    folder = asks / "models--some--bert"
    written(folder, {f"snapshots/{revision}/config.json": "{}", "refs/main": revision})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(asks))
    wanted = Input("pretrained", "some/bert", revision)
    assert inputs.find(wanted) == inputs.Found("some/bert", str(asks))
    assert inputs.find(replace(wanted, fingerprint="f" * 40)) is None
    sent = wanted.pack()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    assert inputs.find(wanted) is None
    assert inputs.keep(wanted, lambda: sent)
    place = inputs.find(wanted)
    assert place is not None
    assert place.name == "some/bert"
    kept = Path(place.hub, "models--some--bert")
    assert (kept / "refs/main").read_text() == revision
    assert (kept / "snapshots" / revision / "config.json").read_text() == "{}"
