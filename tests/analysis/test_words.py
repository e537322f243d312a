"""What captions say of the clips that were measured, and of the variants that are not drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.text import Text

from mmsa_suparc.analysis import missing
from mmsa_suparc.analysis.section import Section
from tests.helpers.grand import FOLDS, VARIANTS, grand, sections

#: Other things of that name.
OTHERS = r"(Friedman|Nemenyi)'s test|signed-rank tests|train\+validation\+test"


def said(section: Section) -> Iterator[str]:
    """Everything that a reader sees of a section."""
    yield from (section.title, section.text, *section.captions.values(), *section.warnings)
    for table in section.tables:
        yield from (table.title, *table.head, *table.notes)
    if section.clips is not None:
        yield from (section.clips.title, *section.clips.shown, *section.clips.notes)
    for figure in section.figures.values():
        yield from (text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("folds", [None, FOLDS])
def test_a_cross_validation_has_no_test_split(folds: int | None, tmp_path: Path) -> None:
    words = [
        re.sub(OTHERS, "", one)
        for section in sections(grand(tmp_path, folds=folds), "mosi")
        for one in said(section)
    ]
    assert len(words) > 100
    of_split = {"test": [], "out-of-fold": []}
    for name, found in of_split.items():
        found += [one for one in words if re.search(rf"\b{name}\b", one, re.IGNORECASE)]
    wrong, right = ("out-of-fold", "test") if folds is None else ("test", "out-of-fold")
    assert of_split[wrong] == []
    assert len(of_split[right]) >= 10


def test_the_caption_names_the_variants_that_are_left_out(tmp_path: Path) -> None:
    results = grand(tmp_path, without=["lf_dnn", "ef_lstm"])
    for result in results.of("mosi", "SupArc"):
        result.folder.probe("noise").unlink()
    section = missing.section(results, "mosi")
    assert section is not None
    (figure,) = section.figures.values()
    (caption,) = section.captions.values()
    assert caption.endswith(
        " Left out, because not measured so: lf_dnn, ef_lstm. "
        "Not in the panel 'noise on audio and vision': SupArc."
    )
    assert len(figure.legends[0].get_texts()) == len(VARIANTS) - 2
    drawn = [len([line for line in plot.lines if len(line.get_xdata())]) for plot in figure.axes]
    assert drawn == [len(VARIANTS) - 2, len(VARIANTS) - 2, len(VARIANTS) - 3]


def test_the_caption_says_nothing_where_all_are_drawn(tmp_path: Path) -> None:
    section = missing.section(grand(tmp_path), "mosi")
    assert section is not None
    assert all(one.endswith("a panel a way of taking away.") for one in section.captions.values())
