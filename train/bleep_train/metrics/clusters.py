"""Leiden clusters of measured and predicted expression, and how far they agree (paper, Fig. 5 and supplement)."""

from __future__ import annotations

import numpy as np

from bleep_cli.types import F32, I64

RESOLUTION = 1.0  # scanpy's own; small sections still part into several clusters
COMPONENTS, NEIGHBOURS = 50, 15
MIN_SPOTS = 5


def leiden(expression: F32, *, seed: int = 0, resolution: float = RESOLUTION) -> I64:
    """Cluster of each spot, i64[n], 0 the largest: principal components, neighbour graph, Leiden (scanpy).

    ``expression`` f32[n, g] log1p. Genes with NaN are left out. Expression that does not vary is one cluster.
    """
    known = np.asarray(expression[:, ~np.isnan(expression).any(axis=0)], np.float32)
    varies = known[:, known.var(axis=0, dtype=np.float64) > 1e-12]
    n, genes = varies.shape
    if n < MIN_SPOTS or genes < 2:
        return np.zeros(n, np.int64)
    import scanpy as sc
    from anndata import AnnData

    data = AnnData(varies)
    sc.pp.pca(data, n_comps=min(COMPONENTS, n - 1, genes - 1), random_state=seed)
    sc.pp.neighbors(data, n_neighbors=min(NEIGHBOURS, n - 1), random_state=seed)
    sc.tl.leiden(data, resolution=resolution, flavor="igraph", n_iterations=2, directed=False, random_state=seed)
    labels = np.asarray(data.obs["leiden"].astype(int), np.int64)
    by_size = np.argsort(-np.bincount(labels), kind="stable")
    return np.asarray(np.argsort(by_size)[labels], np.int64)


def cluster_agreement(measured: I64, predicted: I64) -> dict[str, float]:
    """``nmi`` and ``ari`` of two labellings i64[n] of the same spots, and how many clusters each has."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "nmi": float(normalized_mutual_info_score(measured, predicted)),
        "ari": float(adjusted_rand_score(measured, predicted)),
        "measured": len(np.unique(measured)),
        "predicted": len(np.unique(predicted)),
    }
