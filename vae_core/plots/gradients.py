"""Estimates of gradients."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from vae_core.plots.style import COLORS


def plot_gradient_estimates(estimates: dict[str, Tensor], exact: float) -> Figure:
    """Draw histograms of gradient estimates from single draws, on one axis, and the exact gradient.

    Args:
        estimates: name → `[K]` values of one component.
        exact: the same component, exactly.
    """
    figure, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
    widest = max(values.std().item() for values in estimates.values())
    bins = np.linspace(exact - 3 * widest, exact + 3 * widest, 121)
    for (name, values), color in zip(estimates.items(), (COLORS["reconstruction"], COLORS["kl_prior"])):
        ax.hist(values.numpy(), bins=bins, density=True, color=color, alpha=0.7, label=name)
    ax.axvline(exact, color=COLORS["likelihood"], linestyle=":", linewidth=1.2, label="exact")
    ax.set(xlabel="estimate of one component from a single draw", ylabel="density", yscale="log")
    ax.legend(fontsize="small")
    return figure
