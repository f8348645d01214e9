"""What a live figure is: a still picture, numbers, and a script, all inside one piece of HTML."""

import base64
import html
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from drawing.style import CLASSES, COLORS, DARK
from live.join import join

HERE = Path(__file__).parent
LARGEST = 500_000  # bytes of HTML: what a page can carry
HEAVY = "the networks travel inside the page, two bytes a weight, a quarter more as text"


@dataclass(frozen=True)
class LiveFigure:
    """A figure that answers to mouse, finger and keyboard, with no kernel and no other host.

    It shows itself as HTML that holds everything: a still picture (for print, for pages without
    scripts, for a notebook that is not trusted), the numbers as JSON, and the script
    `js/<name>.js` joined with the modules that it imports. As text it is its description.

    Raises:
        ValueError: the HTML would be larger than 500,000 bytes: the size is named.
    """

    name: str
    "Name of the script `js/<name>.js` beside this module."
    description: str
    "A sentence that says what the still picture shows, its alternative text."
    data: dict = field(repr=False)
    "What the script computes with; must be JSON."
    still: str = field(repr=False)
    "The still picture, an SVG with a light and a dark scheme."

    def __post_init__(self):
        size = len(self.html.encode())
        if size > LARGEST:
            expected = f"expected a figure of at most {LARGEST:,} bytes, got {size:,}"
            raise ValueError(f"{expected}: {HEAVY}: take a smaller one")

    @property
    def html(self) -> str:
        """The whole figure as one piece of HTML."""
        picture = quote(self.still, safe=" =:/;,.+-()'<>{}@*|!$&?_~")
        numbers = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False)
        numbers = numbers.replace("</", "<\\/")
        script = join(HERE / "js" / f"{self.name}.js").replace("</", "<\\/")
        return (
            f'<div class="vae-live" data-vae="{self.name}">\n<style>{styles()}</style>\n'
            f'<img class="vae-still" alt="{html.escape(self.description)}" '
            f'src="data:image/svg+xml,{html.escape(picture)}">\n'
            "<noscript><p>This is a still picture. The figure itself needs JavaScript; in a "
            "notebook, run the cell.</p></noscript>\n"
            '<div class="vae-stage" hidden></div>\n'
            f'<script type="application/json">{numbers}</script>\n'
            f"<script>\n{script};\n</script>\n</div>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        """What Jupyter shows."""
        return {"text/html": self.html, "text/plain": self.description}


@cache
def styles() -> str:
    """The style sheet, with the colours of `drawing` and their dark twins as variables."""
    colors = COLORS | {f"class-{digit}": color for digit, color in enumerate(CLASSES)}
    light = "".join(f"--vae-{name}: {color};" for name, color in colors.items())
    dark = "".join(f"--vae-{name}: {DARK[color]};" for name, color in colors.items())
    sheet = (HERE / "live.css").read_text(encoding="utf-8")
    sheet = sheet.replace("--vae-colors: light;", light).replace("--vae-colors: dark;", dark)
    return " ".join(sheet.split())


def pack_layers(network: nn.Sequential) -> list[dict]:
    """The linear layers as half-precision numbers, row by row.

    Between them the script puts SiLU.
    """
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [
        {"weight": _halves(layer.weight), "bias": _halves(layer.bias), "inputs": layer.in_features}
        for layer in linears
    ]


def _halves(values: Tensor) -> str:
    return _text(values.detach().cpu().to(torch.float16).numpy().astype("<f2"))


def pack_bits(image: Tensor) -> str:
    """A black-and-white image, eight pixels in a byte, the first in the highest bit."""
    return _text(np.packbits(image.cpu().numpy().astype(bool)))


def pack_points(points: Tensor, unit: float = 1e-3) -> str:
    """Points of the plane as whole multiples of a unit, 16 bits each."""
    whole = (points.double() / unit).round().clamp(-32768, 32767)
    return _text(whole.cpu().numpy().astype("<i2"))


def _text(values: np.ndarray) -> str:
    """Base 85, a sixteenth shorter than base 64; a comma for `<`, which could end a script."""
    return base64.b85encode(values.tobytes()).decode().replace("<", ",")
