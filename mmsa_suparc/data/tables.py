"""Tables that several processes may append to."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from mmsa_suparc.data.files import write_text
from mmsa_suparc.data.store import locked
from mmsa_suparc.errors import DiskError, UserError

#: A cell that a spreadsheet would take for a formula. An id that only begins with '-', as
#: names of videos do, is none.
_FORMULA = re.compile(r"[=+@\t\r]|-.*[^\w$.:-]", flags=re.DOTALL)


def plain_cell(text: str) -> str:
    """Text that no spreadsheet evaluates: a formula gets an apostrophe before it."""
    return f"'{text}" if _FORMULA.match(text) else text


#: Columns of our tables that hold words; '007' and 'NA' are names of clips.
_WORDS = {"split", "id", "group", "protocol", "level", "kept", "one", "two"}


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file of ours: words as they stand there, everything else numbers."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in table.columns.difference(list(_WORDS)):
        table[column] = pd.to_numeric(table[column])
    return table


def read_clip_table(path: Path) -> pd.DataFrame:
    """A stranger's CSV file with a row a clip, every cell as it stands there.

    Raises:
        UserError: no table, or no row.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path}: no table in CSV ({why})") from None
    if table.empty:
        raise UserError(f"{path}: no row; expected a clip a row")
    return table


def append_rows(path: Path, rows: pd.DataFrame) -> None:
    """Add rows to a CSV file under a lock; new columns are added, absent values left blank.

    Raises:
        DiskError: the file is as it was.
    """
    with locked(path):
        try:
            if path.is_file() and path.stat().st_size:
                before = pd.read_csv(path, dtype=str, keep_default_na=False)
                rows = pd.concat([before, rows.astype(str).where(rows.notna(), "")])
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a table of comma-separated values"
            raise DiskError(f"cannot read {path}: {why}; move it away") from None
        write_text(path, rows.to_csv(index=False))
