"""Figures as SVG that carries a light and a dark scheme, and is the same text at each run."""

import io
import re
import sys

import matplotlib as mpl
from matplotlib.figure import Figure

from drawing.style import DARK, INK

STEADY = {"svg.hashsalt": "book", "svg.fonttype": "path"}  # ids and glyphs, the same everywhere
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # a date, a version
COLOR = re.compile(r'(: ?|fill=")(#[0-9a-f]{6})\b')


def to_svg(figure: Figure, glyphs: bool = True) -> str:
    """Give a figure as SVG on a transparent ground.

    Every colour that `DARK` knows becomes a CSS variable: the light colour where nothing sets it,
    its dark twin where the reader's scheme is dark. Black, which SVG leaves unsaid, follows the
    ink. Two calls give the same bytes. Without glyphs, text is in a font of the reader's: it is
    smaller.
    """
    out = io.StringIO()
    with mpl.rc_context(STEADY | ({} if glyphs else {"svg.fonttype": "none"})):
        figure.savefig(
            out,
            format="svg",
            transparent=True,
            metadata=NO_METADATA,
            bbox_inches="tight",
            pad_inches=0.02,
        )
    svg = re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.S)  # the prologue names a host
    svg = svg.replace("rotate(-0 ", "rotate(0 ")  # text without glyphs: a turn by nothing
    used = {color for _, color in COLOR.findall(svg)} & DARK.keys()
    svg = COLOR.sub(lambda found: found[1] + _variable(found[2]), svg)
    twins = "".join(f"--{color[1:]}:{DARK[color]};" for color in sorted(used))
    style = f"@media (prefers-color-scheme:dark){{svg{{fill:{DARK[INK]};{twins}}}}}"
    return re.sub(r"(<svg\b[^>]*>)", rf"\1\n<style>{style}</style>", svg, count=1)


def _variable(color: str) -> str:
    return f"var(--{color[1:]},{color})" if color in DARK else color


def show_figures_as_svg() -> None:
    """Under IPython, let every figure that a cell leaves be shown by `to_svg` alone."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return
    # this import sets the formats once; later ones leave them alone
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("svg")
    shell.display_formatter.formatters["image/svg+xml"].for_type(Figure, to_svg)
