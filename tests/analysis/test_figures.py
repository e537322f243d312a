"""Every figure of a report, with long names and more variants than there is room for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from matplotlib.figure import Figure

from mmsa_suparc.analysis import style
from tests.helpers.figures import CHECKS, FIGURES
from tests.helpers.grand import FOLDS, grand, sections
from tests.helpers.legends import cut, has_legend, overlapping, squeezed

KINDS: dict[str, dict] = {"mosi": {}, "sims": {"dataset": "sims"}, "folds": {"folds": FOLDS}}
OF_EACH_KIND = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] if kind == "sims" else []) for kind in KINDS],
)
#: By kind, those that it does not have.
NONE_OF = {"mosi": {"ranks"}, "sims": {"ranks"}, "folds": set()}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Figure]]:
    """By kind of benchmark, its figures by name; each made when it is first asked for."""
    made: dict[str, dict[str, Figure]] = {}

    def of(kind: str) -> dict[str, Figure]:
        if kind not in made:
            dataset = KINDS[kind].get("dataset", "mosi")
            results = grand(tmp_path_factory.mktemp(kind), **KINDS[kind])
            made[kind] = {
                name.removeprefix(f"{dataset}-"): figure
                for section in sections(results, dataset)
                for name, figure in section.figures.items()
            }
        return made[kind]

    return of


@OF_EACH_KIND
def test_the_names_are_those_of_all_figures(kind: str, figures: Callable) -> None:
    assert len(FIGURES) >= 10
    assert set(figures(kind)) == set(FIGURES) - NONE_OF[kind]


@OF_EACH_KIND
@pytest.mark.parametrize("name", FIGURES)
def test_legends_cover_nothing_and_all_texts_can_be_read(
    name: str, kind: str, figures: Callable
) -> None:
    if name in NONE_OF[kind]:
        pytest.skip(f"not a figure of {kind}")
    figure = figures(kind)[name]
    found = {check.__name__: check(figure) for check in CHECKS}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_no_two_of_many_variants_look_alike_and_only_the_first_is_black() -> None:
    variants = [f"variant {n}" for n in range(43)]
    found = style.looks(variants)
    assert list(found) == variants
    assert len({(look["color"], look["marker"]) for look in found.values()}) == len(variants)
    assert [v for v in variants if found[v]["color"] == style.BLACK] == variants[:1]


def test_some_figures_have_a_legend(figures: Callable) -> None:
    found = {name for name, figure in figures("mosi").items() if has_legend(figure)}
    assert found >= {"missing", "geometry", "conflict"}


def test_texts_that_are_cut_or_lie_on_each_other_are_found_and_plots_without_room() -> None:
    figure, (left, right) = style.axes(2, width=3)
    assert (cut(figure), overlapping(figure), squeezed(figure)) == ([], [], [])
    left.set_title("a title " * 10, fontsize=9)
    right.set_title("another " * 10, fontsize=9)
    assert [words[:5] for words in cut(figure)] == ["a tit", "anoth"]
    assert any(one.startswith("a title") and "| another" in one for one in overlapping(figure))
    left.set_title("")
    right.set_title("")
    left.set_yticks([0.5], ["a long name " * 5])
    assert len(squeezed(figure)) == 2
