"""Whether a benchmark's data sets can be cut into its folds, looked at before a cell starts."""

from __future__ import annotations

from mmsa_suparc.bench import cells
from mmsa_suparc.bench.plan import Plan
from mmsa_suparc.data import reader
from mmsa_suparc.data.folds import cut, doubts
from mmsa_suparc.errors import UserError


def fold_doubts(plan: Plan, data_root: str | None) -> list[str]:
    """Cut every data set into its folds; what there is to know of them, each line once.

    Raises:
        UserError: it cannot be cut so.
    """
    found: dict[str, None] = {}
    different = {(c.dataset, c.values.get("featurePath"), c.fold): c for c in plan.cells}
    with reader.reading_once():
        for (_, _, fold), cell in different.items():
            if fold is None:
                continue
            content = cells.clips_of(cell, data_root)
            try:
                cut(content, fold)
            except UserError as error:
                raise UserError(f"{cell.dataset}: {error}") from None
            found |= {f"{cell.dataset}: {line}": None for line in doubts(content, fold)}
    return list(found)
