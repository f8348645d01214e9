"""What the scripts of the live figures are checked with: the joiner, and numbers from Python.

`python tests/book/test_scripts.py` writes `tests/js/numbers.json` anew; `node --test` reads it.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "tests" / "js" / "numbers.json"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "book")]

from deeper import LinearGaussian, decompose_linear  # noqa: E402  found by the lines above
from live.join import join  # noqa: E402
from live.page import pack_bits, pack_layers, pack_points  # noqa: E402
from vae_core import VAE, DiagonalGaussian, decompose_on_grid, log_joint  # noqa: E402


def small_model():
    """36 pixels, five hidden units, weights large enough to matter, all of half precision."""
    generator = torch.Generator().manual_seed(4)
    model = VAE.mlp(2, (5,), "bernoulli", 36, generator).double().requires_grad_(False)
    for weight in model.parameters():
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        weight.copy_((weight + 0.7 * noise).half().double())
    return model, (torch.rand(2, 36, generator=generator) < 0.4).double()


def four(terms):
    names = ("reconstruction", "kl_prior", "kl_posterior")
    found = {name: getattr(terms, name).item() for name in names}
    return found | {"likelihood": terms.log_likelihood.item()}


def of_image(model, x):
    """What Python says of one image."""
    q = model.encode(x)
    z = torch.tensor([[0.4, -0.9]], dtype=torch.float64, requires_grad=True)
    p = model.decode(z)
    (gradient,) = torch.autograd.grad(p.log_prob(x), z)
    own = DiagonalGaussian(
        torch.tensor([[-0.6, 0.8]], dtype=torch.float64),
        2 * torch.tensor([[0.3, 0.9]], dtype=torch.float64).log(),
    )
    axis = torch.arange(-6, 6, 1 / 64, dtype=torch.float64)
    plane = torch.cartesian_prod(axis, axis)
    log_px = log_joint(model, x, plane)[0] - model.prior().log_prob(plane)
    return {
        "bits": pack_bits(x[0]),
        "q": {"mean": q.mean[0].tolist(), "std": q.stddev[0].tolist()},
        "z": z[0].tolist(),
        "probabilities": p.mean[0].tolist(),
        "logLikelihood": p.log_prob(x).item(),
        "gradient": gradient[0].tolist(),
        "terms": four(decompose_on_grid(model, x)),
        "own": {"mean": own.mean[0].tolist(), "std": own.stddev[0].tolist()},
        "ownTerms": four(decompose_on_grid(model, x, own)),
        "most": log_px.max().item(),
    }


def numbers():
    model, images = small_model()
    weight = torch.tensor([[1.5], [-0.5], [0.25]], dtype=torch.float64)
    bias, noise = torch.tensor([0.5, 0.0, 1.0]).double(), torch.tensor([0.5, 1.0, 2.0]).double()
    linear, x = LinearGaussian(weight, bias, noise), torch.tensor([[2.0, 0.5, -1.0]]).double()
    scaled = weight[:, 0] / noise
    curvature = scaled @ weight[:, 0]
    zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    start = decompose_linear(linear, x, zero, one)
    at = decompose_linear(linear, x, zero - 0.7, 0.25 * one)
    return {
        "encoder": pack_layers(model.encoder),
        "decoder": pack_layers(model.decoder),
        "images": [of_image(model, x[None]) for x in images],
        "points": {"text": pack_points(torch.tensor([[1.25, -0.5], [-3, 2.125]])), "unit": 1e-3},
        "linear": {
            "constant": start.reconstruction.item() + 0.5 * curvature.item(),
            "slope": (scaled @ (x[0] - bias)).item(),
            "curvature": curvature.item(),
            "logEvidence": start.log_likelihood.item(),
        },
        "linearQ": {"mean": -0.7, "std": 0.5},
        "linearTerms": four(at),
    }


def same(found, stored):
    """Texts to the letter, numbers to eight digits."""
    if isinstance(found, dict):
        assert found.keys() == stored.keys()
        for name, value in found.items():
            same(value, stored[name])
    elif isinstance(found, list):
        assert len(found) == len(stored)
        for value, other in zip(found, stored):
            same(value, other)
    elif isinstance(found, float):
        assert stored == pytest.approx(found, rel=1e-8, abs=1e-8)
    else:
        assert found == stored


def test_the_stored_numbers_are_those_of_python():
    same(numbers(), json.loads(STORED.read_text(encoding="utf-8")))


def modules(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / "main.js"


def test_modules_are_joined_in_the_order_of_their_imports(tmp_path):
    main = modules(
        tmp_path,
        one="export const a = 1;\nconst hidden = 2;\nexport function f() {\n  return hidden;\n}\n",
        two='import { a } from "./one.js";\nexport class B {}\n/** a comment */\n'
        "export let c = a;\n",
        main='import {\n  B,\n  c as d,\n} from "./two.js";\nimport { f } from "./one.js";\n'
        "export const out = [B, d, f()]; // kept\n// left out\n",
    )
    text = join(main)
    assert text.index("const one_js") < text.index("const two_js") < text.index("const main_js")
    assert "const { B, c: d } = two_js;" in text and "return { out };" in text
    assert text.count("const one_js") == 1 and "a comment" not in text and "left out" not in text
    assert "import" not in text and "export" not in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('import { b } from "./one.js";\n', "one.js exports no b"),
        ('import * as one from "./one.js";\n', "cannot join 'import"),
        ('import one from "./one.js";\n', "cannot join 'import"),
        ('export { a } from "./one.js";\n', "cannot join 'export"),
        ("export default 3;\n", "cannot join 'export"),
        ('const one = await import("./one.js");\n', "cannot join 'import"),
    ],
)
def test_what_cannot_be_joined_is_refused_by_its_line(tmp_path, line, said):
    with pytest.raises(ValueError, match=f"main.js: {said}"):
        join(modules(tmp_path, one="export const a = 1;\n", main=line))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "book" / "live" / "js").glob("*.js")), ids=lambda path: path.stem
)
def test_a_module_is_short_has_no_timing_and_needs_no_other_host(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250 and max(map(len, text.splitlines())) <= 100
    assert "state.took" not in text and "http" not in text


if __name__ == "__main__":
    STORED.write_text(json.dumps(numbers(), indent=1) + "\n", encoding="utf-8")
