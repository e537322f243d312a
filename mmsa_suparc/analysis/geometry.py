"""Are the fusion vectors ordered as the scores are?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from mmsa_suparc.analysis.section import Section, axes
from mmsa_suparc.bench.results import CellResult, Results
from mmsa_suparc.bench.tables import Entry, Table, number

#: Pictures of so many variants: the reference and those after it.
MOST_SHOWN = 3


def section(results: Results, dataset: str) -> Section | None:
    """There where cells of SupArc were probed for their geometry."""
    shown = {
        variant: cell
        for variant in results.plan.variants
        if (cell := next((c for c in results.of(dataset, variant) if vectors(c) is not None), None))
    }
    if not shown:
        return None
    table = Table(
        f"{dataset}-geometry", f"Fusion vectors of the test clips on {dataset}",
        ["variant", "Spearman (angle, Δ)", "effective rank", "uniformity", "alignment",
         "triplet order"],
        notes=["First seed. Effective rank: exp of the entropy of the normalised singular values. "
               "Uniformity: log mean exp(−2 |z_i − z_j|²), lower is more spread. Alignment: mean "
               "|z_i − z_j|² of pairs within 0.5 score units. Triplet order: share of clips and "
               "nested pairs whose complete vector is closer to the one with fewer modalities "
               "masked."],
    )  # fmt: skip
    found = Section(
        f"Geometry on {dataset}",
        "The angle between two fusion vectors against the difference of their scores, and the "
        "space itself, coloured by score.",
        [table],
    )
    few = list(shown)[:MOST_SHOWN]
    figure, plots = axes(1 + len(few))
    for variant, cell in shown.items():
        features, labels = vectors(cell), cell.predictions("test")["label"].to_numpy()
        assert features is not None
        angles, differences = pairs(features, labels)
        spearman = float(stats.spearmanr(angles, differences).statistic)
        order = cell.read("geometry.csv")
        share = float(order["share"].mean()) if order is not None and len(order) else np.nan
        ranked = effective_rank(features)
        table.rows.append(
            [
                Entry(variant), number(spearman), number(ranked), number(uniformity(features)),
                number(alignment(features, labels)), number(share),
            ]
        )  # fmt: skip
        if ranked < 1.5:
            found.warnings.append(
                f"{dataset}, {variant}: the fusion vectors have collapsed to about one direction "
                f"(effective rank {ranked:.1f}); look at margin and temperature"
            )
        if variant in few:
            edges = np.quantile(differences, np.linspace(0, 1, 11))
            places = np.clip(np.searchsorted(edges, differences, side="right") - 1, 0, 9)
            means = [angles[places == p].mean() for p in range(10) if (places == p).any()]
            centers = [differences[places == p].mean() for p in range(10) if (places == p).any()]
            plots[0].plot(centers, means, marker=".", label=variant)
    plots[0].set_xlabel("score difference Δ (score units)")
    plots[0].set_ylabel("mean angle (radians)")
    plots[0].legend(fontsize=7, frameon=False)
    for plot, variant in zip(plots[1:], few, strict=True):
        kept = vectors(shown[variant])
        assert kept is not None
        flat, colors = principal(kept), shown[variant].predictions("test")["label"]
        points = plot.scatter(flat[:, 0], flat[:, 1], c=colors, cmap="coolwarm", s=8)
        plot.set_title(variant, fontsize=8)
        plot.set_xlabel("first principal component")
    figure.colorbar(points, ax=plots[-1], label="score")
    found.figures[f"{dataset}-geometry"] = figure
    return found


def vectors(cell: CellResult) -> np.ndarray | None:
    """(N, D) complete fusion vectors of the test split; None where they were not kept."""
    path = cell.folder / "fusion.npy"
    return np.load(path) if path.is_file() else None


def unit(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms == 0, 1, norms)


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


def alignment(features: np.ndarray, labels: np.ndarray, *, near: float = 0.5) -> float:
    """Mean |z_i − z_j|² of pairs within ``near`` score units."""
    z = unit(features)
    rows, columns = np.triu_indices(len(z), k=1)
    is_near = np.abs(labels[rows] - labels[columns]) <= near
    if not is_near.any():
        return float("nan")
    return float((2 - 2 * (z @ z.T)[rows, columns])[is_near].mean())


def principal(features: np.ndarray) -> np.ndarray:
    """(N, 2) first principal components."""
    centered = features - features.mean(axis=0)
    _, _, axes_ = np.linalg.svd(centered, full_matrices=False)
    return centered @ axes_[:2].T
