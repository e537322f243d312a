"""Tables of clips: every row is used, or its fault is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsa_suparc.errors import UserError
from mmsa_suparc.videos import clip_table
from mmsa_suparc.videos.clip_table import Row

GOOD = "path,text,score,split,speaker\n"


def table(folder: Path, *lines: str, head: str = GOOD, files: tuple[str, ...] = ()) -> Path:
    for name in ("a.mp4", "b.mp4", *files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    path = folder / "table.csv"
    path.write_text(head + "\n".join(lines), encoding="utf-8")
    return path


def test_a_row_has_all_that_is_said_of_it(tmp_path: Path) -> None:
    found = clip_table.read(table(tmp_path, "a.mp4,好电影 it is,1.5,Train,ann"))
    assert found.faults == []
    assert found.rows == [Row("a.mp4", tmp_path / "a.mp4", "好电影 it is", 1.5, "train", "ann")]


def test_the_toolkit_s_layout(tmp_path: Path) -> None:
    table(tmp_path, files=("Raw/v1/3.mp4",))
    (tmp_path / "label.csv").write_text(
        "video_id,clip_id,text,label,mode\nv1,3,words,-1,test\nv1,4,words,1,test\n"
    )
    found = clip_table.read(tmp_path)
    (row,) = found.rows
    assert (row.id, row.group, row.split, row.score) == ("v1$_$3", "v1", "test", -1.0)
    assert found.faults == [("line 3, v1$_$4", "path: no file Raw/v1/4.mp4")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.mp4,t,good,train,s", "score: 'good' is no number"),
        ("a.mp4,t,nan,train,s", "score: 'nan' is no number"),
        ("a.mp4,t,7,train,s", "score: 7; expected -3 to 3"),
        ("a.mp4,t,1,training,s", "split: 'training'; expected train, valid or test"),
        ("../../etc/passwd,t,1,train,s", "path: leads out of"),
        ("/etc/passwd,t,1,train,s", "path: leads out of"),
        ("link.mp4,t,1,train,s", "path: leads out of"),
        ("c.mp4,t,1,train,s", "path: no file c.mp4"),
        (".,t,1,train,s", "path: no file ."),
        (",t,1,train,s", "path: empty"),
        ("b.mp4,t,1,train,s", "id: the same as in line 2"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_used(line: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to("/etc/passwd")
    found = clip_table.read(table(tmp_path, "b.mp4,t,0,train,s", line), score_range=(-3, 3))
    assert [row.id for row in found.rows] == ["b.mp4"]
    ((where, why),) = found.faults
    assert where.startswith("line 3, ")
    assert why.startswith(reason)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("text,score\n", "no column 'path' or 'video' or 'file'"),
        ("path,text\n", "no column 'score' or 'label'"),
    ],
)
def test_a_table_without_a_needed_column_is_refused(
    head: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        clip_table.read(table(tmp_path, "a.mp4,1", head=head))


def test_no_table_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a folder with label\.csv"):
        clip_table.read(tmp_path)
    with pytest.raises(UserError, match="no row"):
        clip_table.read(table(tmp_path))


def rows(*sizes: int) -> list[Row]:
    return [
        Row(f"{group}-{clip}", Path("x"), "", 0.0, "", f"speaker {group}")
        for group, size in enumerate(sizes)
        for clip in range(size)
    ]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (10, 1, 1), (5, 4, 7, 3, 2, 9, 1, 4), (3,) * 40])
@pytest.mark.parametrize("seed", range(3))
def test_no_speaker_is_in_two_splits(sizes: tuple[int, ...], seed: int) -> None:
    clips = rows(*sizes)
    splits = clip_table.with_splits(clips, seed=seed)
    by_group: dict[str, set[str]] = {}
    for row, split in zip(clips, splits, strict=True):
        by_group.setdefault(row.group, set()).add(split)
    assert all(len(names) == 1 for names in by_group.values())
    assert set(splits) == {"train", "valid", "test"}
    assert splits == clip_table.with_splits(clips, seed=seed)
    if len(sizes) == 40:
        for split, share in zip(("train", "valid", "test"), clip_table.SHARES, strict=True):
            assert splits.count(split) / len(clips) == pytest.approx(share, abs=0.03)


def test_too_few_speakers_and_half_a_column_are_refused() -> None:
    with pytest.raises(UserError, match=r"of 2 speaker\(s\)"):
        clip_table.with_splits(rows(5, 5), seed=0)
    mixed = [Row("a", Path("x"), "", 0.0, "train", "a"), *rows(1, 1, 1)]
    with pytest.raises(UserError, match="given for 1 of 4 clips"):
        clip_table.with_splits(mixed, seed=0)
