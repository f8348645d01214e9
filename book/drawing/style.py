"""Colours and labels, the same in every figure."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib import colormaps
from matplotlib.colors import to_hex

COLORS = {
    "reconstruction": "#0072b2",
    "kl_prior": "#d55e00",
    "kl_posterior": "#009e73",
    "likelihood": "#333333",
    "q": "#b58900",
    "posterior": "#7b3294",
    "prior": "#888888",
    "gradient": "#cc3311",
}
INK = "#333333"  # of text, axes and log p(x)
OTHERS = ("#8c510a", "#5c6bc0", "#c2568f", "#708238")  # estimators, data sets, models
LABELS = {
    "reconstruction": r"$\mathbb{E}_q[\log\,p(x|z)]$",
    "kl_prior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z))$",
    "kl_posterior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z|x))$",
    "likelihood": r"$\log\,p(x)$",
}
FORWARD, GRADIENT, BOX = "#333333", "#cc3311", "#f2f2f2"
CLASSES = [to_hex(color) for color in colormaps["tab10"].colors]  # of the digits 0 to 9


def with_styles(series: Mapping, styles: Sequence[str]) -> Iterator[tuple[tuple, str]]:
    """Pair each series with a style of its own: ((name, values), style).

    Raises:
        ValueError: more series than styles; `zip` would leave the last ones out of the figure.
    """
    if len(series) > len(styles):
        raise ValueError(
            f"expected at most {len(styles)} series, got {len(series)}: {', '.join(map(str, series))}"
        )
    return zip(series.items(), styles, strict=False)
