"""What a live figure is: a still picture, numbers, and scripts, all inside one piece of HTML."""

import base64
import html
import io
import json
from dataclasses import dataclass, field
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from drawing.style import CLASSES, COLORS

LARGEST = 500_000  # bytes of HTML: what a page can carry
HEAVY = "the networks travel inside the page, two bytes a weight, a third more as text: take a smaller one"


@dataclass(frozen=True)
class LiveFigure:
    """A figure that answers to mouse, finger and keyboard, with no kernel and no request to another host.

    It shows itself as HTML that holds everything: a still picture (for print, for pages without scripts, for a notebook
    that is not trusted), the numbers as JSON, and the scripts `core.js` and `<name>.js`. As text it is its description.

    Raises:
        ValueError: the HTML would be larger than 500,000 bytes: the size is named.
    """

    name: str
    "Name of the script `js/<name>.js` beside this module."
    description: str
    "A sentence that says what the still picture shows, its alternative text."
    data: dict = field(repr=False)
    "What the script computes with; must be JSON."
    still: bytes = field(repr=False)
    "The still picture, a PNG."

    def __post_init__(self):
        size = len(self.html.encode())
        if size > LARGEST:
            raise ValueError(
                f"expected a figure of at most {LARGEST:,} bytes, got {size:,}: {HEAVY}"
            )

    @property
    def html(self) -> str:
        """The whole figure as one piece of HTML."""
        picture = base64.b64encode(self.still).decode()
        numbers = json.dumps(
            {**self.data, "colors": COLORS, "classes": CLASSES},
            separators=(",", ":"),
            ensure_ascii=False,
        ).replace("</", "<\\/")
        script = _file("js/start.js").replace(
            "/* figure */", _file("js/core.js") + _file(f"js/{self.name}.js")
        )
        return (
            f'<div class="vae-live" data-vae="{self.name}">\n<style>\n{_file("live.css")}</style>\n'
            f'<img class="vae-still" alt="{html.escape(self.description)}" src="data:image/png;base64,{picture}">\n'
            "<noscript><p>This is a still picture. The figure itself needs JavaScript; in a notebook, run the cell.</p></noscript>\n"
            '<div class="vae-stage" hidden></div>\n'
            f'<script type="application/json">{numbers}</script>\n'
            f"<script>\n{script.replace('FIGURE', self.name)}</script>\n</div>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        """What Jupyter shows."""
        return {"text/html": self.html, "text/plain": self.description}


def _file(name: str) -> str:
    return (files("live") / name).read_text(encoding="utf-8")


def picture_of(figure: Figure) -> bytes:
    """The PNG of a figure, in 64 colours so that it is small; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    plt.close(figure)
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(
        small, format="png", optimize=True
    )
    return small.getvalue()


def pack_layers(network: nn.Sequential) -> list[dict]:
    """The linear layers as half-precision numbers in base64, row by row; between them the script puts SiLU."""
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [
        {"weight": _halves(layer.weight), "bias": _halves(layer.bias), "inputs": layer.in_features}
        for layer in linears
    ]


def _halves(values: Tensor) -> str:
    return base64.b64encode(
        values.detach().cpu().to(torch.float16).numpy().astype("<f2").tobytes()
    ).decode()


def pack_bits(image: Tensor) -> str:
    """A black-and-white image, eight pixels in a byte, the first in the highest bit, in base64."""
    return base64.b64encode(np.packbits(image.cpu().numpy().astype(bool)).tobytes()).decode()


def pack_points(points: Tensor, unit: float = 1e-3) -> str:
    """Points of the plane as whole multiples of a unit, 16 bits each, in base64."""
    whole = (points.double() / unit).round().clamp(-32768, 32767)
    return base64.b64encode(whole.cpu().numpy().astype("<i2").tobytes()).decode()
