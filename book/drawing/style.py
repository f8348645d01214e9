"""Colours and labels, the same in every figure, and the dark twin of each colour."""

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
WIDTH = (
    4.9  # inches, at most: on a phone a figure is three quarters as wide, and its text still read
)
INK = "#333333"  # of text, axes and log p(x)
OTHERS = ("#8c510a", "#5c6bc0", "#c2568f", "#708238")  # estimators, data sets, models
LABELS = {
    "reconstruction": r"$\mathbb{E}_q[\log\,p(x|z)]$",
    "kl_prior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z))$",
    "kl_posterior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z|x))$",
    "likelihood": r"$\log\,p(x)$",
}
HATCHES = {"reconstruction": "", "kl_prior": "////", "kl_posterior": "xxxx"}
PAPER, BOX, FAINT, SOFT = "#ffffff", "#f0f0f0", "#bbbbbb", "#555555"
"Of the page, of a box, of lines behind the subject, of remarks."
CLASSES = [to_hex(color) for color in colormaps["tab10"].colors]  # of the digits 0 to 9
DARK = {  # colour → its twin on a dark page: the same hue, as far from that ground
    "#0072b2": "#56b4e9",
    "#d55e00": "#ff8c3a",
    "#009e73": "#3fd0a4",
    "#333333": "#d8d8d8",
    "#b58900": "#f0c040",
    "#7b3294": "#c792ea",
    "#888888": "#a0a0a0",
    "#cc3311": "#ff6b57",
    "#8c510a": "#d8a25e",
    "#5c6bc0": "#9fa8ff",
    "#c2568f": "#f08cc0",
    "#708238": "#b5c95a",
    "#000000": "#d9d9d9",
    "#ffffff": "#121212",
    "#f0f0f0": "#2c2c2c",
    "#bbbbbb": "#666666",
    "#555555": "#b5b5b5",
    "#999999": "#8a8a8a",
    "#1f77b4": "#5aa9e6",
    "#ff7f0e": "#ff9a42",
    "#2ca02c": "#4cc34c",
    "#d62728": "#ff6161",
    "#9467bd": "#b794e0",
    "#8c564b": "#c48a7d",
    "#e377c2": "#f09ad4",
    "#7f7f7f": "#a8a8a8",
    "#bcbd22": "#cfd03a",
    "#17becf": "#30d0e0",
}


def with_styles(series: Mapping, styles: Sequence[str]) -> Iterator[tuple[tuple, str]]:
    """Pair each series with a style of its own: ((name, values), style).

    Raises:
        ValueError: more series than styles; `zip` would leave the last ones out of the figure.
    """
    if len(series) > len(styles):
        given = f"{len(series)}: {', '.join(map(str, series))}"
        raise ValueError(f"expected at most {len(styles)} series, got {given}")
    return zip(series.items(), styles, strict=False)
