"""Are the fusion vectors ordered as the scores are?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from mmsa_suparc.analysis import diagnostics
from mmsa_suparc.analysis.chosen import few, unseen
from mmsa_suparc.analysis.section import Section
from mmsa_suparc.analysis.style import LINE, SCORES, axes, legend_above, lines_of, looks, wrapped
from mmsa_suparc.bench.pairing import KnownClips
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.bench.tables import Entry, Table, number
from mmsa_suparc.losses.pairs import positive_pairs, unit_vectors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pictures of so many variants: the reference and the best of the others.
MOST_SHOWN = 2
#: Warnings: effective rank below, Spearman above, share of the training mean's MAE above.
COLLAPSED, ORDERED, POOR = 1.5, 0.5, 0.8
#: Of t-SNE's start.
SEED = 0


def section(results: Results, dataset: str) -> Section | None:
    """There where cells of SupArc tell what their losses did, or were probed for their geometry."""
    shown = {
        variant: probed[0]
        for variant in results.plan.variants
        if (probed := [c for c in results.trained(dataset, variant) if c.folder.fusion.is_file()])
    }
    losses = diagnostics.table(results, dataset)
    if not shown and losses is None:
        return None
    found = Section(
        f"Geometry on {dataset}",
        "The angle between two fusion vectors against the difference of their scores, the space "
        "itself, coloured by score, and what the losses did to it.",
    )
    if shown:
        _add_vectors(found, results, dataset, shown)
    if losses is not None:
        found.tables.append(losses[0])
        found.warnings += losses[1]
    return found


def _add_vectors(
    found: Section, results: Results, dataset: str, shown: dict[str, CellResult]
) -> None:
    """Table, pictures and warnings of the fusion vectors of these cells, by variant."""
    first = "first seed" if results.plan.folds is None else "first seed, first fold"
    table = Table(
        f"{dataset}-geometry", f"Fusion vectors of the {unseen(results)} clips on {dataset}",
        ["variant", "Spearman (angle, Δ)", "effective rank", "uniformity", "threshold", "alignment",
         "triplet order"],
        notes=[f"{first.capitalize()}. Effective rank: exp of the entropy of the normalised "
               "singular values. Uniformity: log mean exp(−2 |z_i − z_j|²), lower is more "
               "spread. Alignment: mean |z_i − z_j|² of pairs within the training's own threshold "
               "(score units). Triplet order: share of clips and nested pairs whose complete "
               "vector is closer to the one with fewer modalities masked."],
    )  # fmt: skip
    found.tables.append(table)
    clips = next(iter(shown.values())).known_clips()
    of_variant = {variant: vectors(cell, clips) for variant, cell in shown.items()}
    drawn, which = few(results, dataset, shown, MOST_SHOWN)
    figure, (curve,) = axes()
    look = looks(results.plan.variants)
    for variant, cell in shown.items():
        features, threshold = of_variant[variant], float(cell.values()["threshold"])
        angles, differences = pairs(features, clips.labels)
        spearman = float(stats.spearmanr(angles, differences).statistic)
        order = cell.read("geometry.csv")
        share = float(order["share"].mean()) if order is not None and len(order) else np.nan
        ranked = effective_rank(features)
        table.rows.append(
            [
                Entry(variant), number(spearman), number(ranked), number(uniformity(features)),
                Entry(f"{threshold:g}", threshold),
                number(alignment(features, clips.labels, threshold)), number(share),
            ]
        )  # fmt: skip
        found.warnings += _warnings(results, dataset, variant, ranked, spearman)
        if variant in drawn:
            curve.plot(*binned(differences, angles), ms=4, label=variant, **look[variant])
    curve.set_xlabel("score difference Δ (score units)")
    curve.set_ylabel("mean angle (radians)")
    legend_above(figure, [curve])
    found.draw(
        f"{dataset}-geometry",
        figure,
        f"Angle between the fusion vectors of two {unseen(results)} clips of {dataset}, mean by "
        f"the difference of their scores; {first}.{which}",
    )
    found.draw(
        f"{dataset}-projection",
        _projections({variant: of_variant[variant] for variant in drawn}, clips.labels),
        f"Fusion vectors of the {unseen(results)} clips of {dataset} in two dimensions, a point a "
        "clip: negative scores red and pointing down, the others blue and pointing up; "
        f"{first}.{which}",
    )


def _projections(of_variant: dict[str, np.ndarray], labels: np.ndarray) -> Figure:
    """PCA and t-SNE of each variant, coloured by score; triangles say the sign without a colour."""
    titles = {variant: wrapped(variant, 22) for variant in of_variant}
    height = 3.4 + LINE * (lines_of(titles.values()) - 1)
    figure, plots = axes(2 * len(of_variant), width=3.6, height=height)
    most = np.abs(labels).max(initial=0)
    for place, (variant, features) in enumerate(of_variant.items()):
        for plot, flat, name in (
            (plots[2 * place], principal(features), "PCA"),
            (plots[2 * place + 1], neighbours(features), "t-SNE"),
        ):
            for here, marker in ((labels < 0, "v"), (labels >= 0, "^")):
                points = plot.scatter(
                    *flat[here].T, c=labels[here], cmap=SCORES, vmin=-most, vmax=most, s=12,
                    marker=marker, edgecolors="#80808080", lw=0.3,
                )  # fmt: skip
            plot.set_title(f"{titles[variant]}\n{name}", fontsize=9)
            plot.set_xticks([])
            plot.set_yticks([])
    figure.colorbar(points, ax=plots[-1], label="score (score units)")
    return figure


def _warnings(
    results: Results, dataset: str, variant: str, ranked: float, spearman: float
) -> list[str]:
    """Collapsed vectors; and good ones of which the prediction makes too little."""
    if ranked < COLLAPSED:
        return [
            f"{dataset}, {variant}: the fusion vectors have collapsed to about one direction "
            f"(effective rank {ranked:.1f}); look at margin and temperature"
        ]
    error = float(np.mean(results.values(dataset, variant, "MAE")))
    control = results.control(dataset).get("MAE", np.inf)
    if spearman > ORDERED and error > POOR * control:
        return [
            f"{dataset}, {variant}: the fusion vectors are ordered as the scores are (Spearman "
            f"{spearman:.2f}), but the MAE {error:.3f} is near that of the training mean "
            f"({control:.3f}); look at the prediction network and the learning rates"
        ]
    return []


def vectors(cell: CellResult, clips: KnownClips) -> np.ndarray:
    """(N, D) complete fusion vectors of the test clips, in this order.

    Raises:
        UserError: those of other clips were kept.
    """
    with np.load(cell.folder.fusion) as kept:
        found: np.ndarray = kept["vectors"]
        return found[clips.places(kept["ids"].tolist(), cell.in_words(cell.folder.fusion.name))]


def unit(features: np.ndarray) -> np.ndarray:
    """z_i = f_i / |f_i|, (N, D); a zero vector stays zero."""
    return unit_vectors(torch.from_numpy(features)).numpy()


def pairs(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle in radians and score difference of every pair, once."""
    z = unit(features)
    rows, columns = np.triu_indices(len(z), k=1)
    cosine = np.clip((z @ z.T)[rows, columns], -1, 1)
    return np.arccos(cosine), np.abs(labels[rows] - labels[columns])


def effective_rank(features: np.ndarray) -> float:
    """exp(entropy of the singular values' shares); Roy & Vetterli (2007)."""
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    if values.sum() == 0:
        return 0.0
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def uniformity(features: np.ndarray) -> float:
    """log mean exp(−2 |z_i − z_j|²) over pairs; Wang & Isola (2020)."""
    z = unit(features)
    rows, columns = np.triu_indices(len(z), k=1)
    return float(np.log(np.exp(-2 * (2 - 2 * (z @ z.T)[rows, columns])).mean()))


def alignment(features: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Mean |z_i − z_j|² of pairs whose scores differ by at most ``threshold``."""
    z = unit(features)
    rows, columns = np.triu_indices(len(z), k=1)
    near = positive_pairs(torch.tensor(labels), sampling="threshold", threshold=threshold)
    is_near = near.numpy()[rows, columns]
    if not is_near.any():
        return float("nan")
    return float((2 - 2 * (z @ z.T)[rows, columns])[is_near].mean())


def binned(x: np.ndarray, y: np.ndarray, bins: int = 10) -> tuple[list[float], list[float]]:
    """Mean x and mean y in bins of x that hold about as many points each."""
    edges = np.quantile(x, np.linspace(0, 1, bins + 1))
    places = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    filled = [places == place for place in range(bins) if (places == place).any()]
    return [float(x[here].mean()) for here in filled], [float(y[here].mean()) for here in filled]


def principal(features: np.ndarray) -> np.ndarray:
    """(N, 2) first principal components."""
    centered = features - features.mean(axis=0)
    _, _, axes_ = np.linalg.svd(centered, full_matrices=False)
    return centered @ axes_[:2].T


def neighbours(features: np.ndarray) -> np.ndarray:
    """(N, 2) t-SNE of the vectors by the angle between them (van der Maaten & Hinton, 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(1.0, (len(features) - 1) / 3))
    model = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=SEED)
    flat: np.ndarray = model.fit_transform(unit(features))
    return flat
