"""The live figures of the book. Each function packs what its script needs, and draws the still."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deeper import LinearGaussian, decompose_linear
from drawing import posterior_on_grid
from live import stills
from live.page import LiveFigure, pack_bits, pack_layers, pack_points
from vae_core import (
    VAE,
    Decomposition,
    DiagonalGaussian,
    check_images,
    decompose_on_grid,
    log_joint,
)

RADIUS, STEP = 6, 1 / 6  # the page knows the decoder on [−6, 6]², from points 1/6 apart
THROWN = 2000  # codes of the still picture, and of the figure when it opens


@torch.no_grad()
def rain_of_codes(model: VAE, image: Tensor) -> LiveFigure:
    """Throw codes from the prior, keep each with probability p(x|z) / max: which ones fit x?

    The kept codes are draws from the posterior, and the mean of p(x|z) over all thrown ones settles
    at p(x), which the page knows from a grid, too. Chapter 1, equations (evidence) and (bayes).

    Args:
        model: a Bernoulli VAE, Z = 2, one hidden layer with SiLU in each network; its weights are
            rounded to half precision. Only the decoder travels in the page.
        image: one digit, black and white, `[1, 784]`.

    Raises:
        ValueError: another kind of model, more than one image, a grey one, or a decoder too large
            for a page.
    """
    _check(model)
    _check_digits(image, [0])
    rounded = _rounded(model)
    x = image.double()
    q = rounded.encode(x)
    generator = torch.Generator().manual_seed(1)
    thrown = torch.randn(THROWN, 2, generator=generator, dtype=torch.float64)
    log_px = rounded.log_likelihood(x, thrown[:, None])[:, 0]
    fits = torch.rand(THROWN, generator=generator, dtype=torch.float64)
    kept = thrown[fits < (log_px - _most_likely(rounded, x)).exp()]
    data = {
        "decoder": pack_layers(rounded.decoder),
        "digit": pack_bits(x[0]),
        "q": _pack_gaussian(q),
        "radius": RADIUS,
        "step": STEP,
        "seed": 1,
    }
    description = (
        "A handwritten digit; beside it the latent plane with thousands of codes thrown from the "
        "prior, grey, and the few that were kept, larger and purple, close together."
    )
    return LiveFigure("rain", description, data, stills.still_rain(x[0], thrown, kept))


@torch.no_grad()
def draw_a_digit(
    model: VAE, images: Tensor, labels: Sequence[int], usual: Decomposition | None = None
) -> LiveFigure:
    """Draw a digit, or pick one: q(z|x), the true posterior and the three terms. Chapter 2.

    Encoder and decoder run in the page. log p(x) and the reconstruction term come from grids of
    their own, the KL to the posterior from another; they agree with `decompose_on_grid` to 0.01 nat
    for codes within [−6, 6]².

    Args:
        model: a Bernoulli VAE, Z = 2, one hidden layer with SiLU in each network; its weights are
            rounded to half precision.
        images: digits to pick from, black and white, `[n, 784]`. The first is shown at the start:
            one with a large third term shows what the figure is about.
        labels: n labels.
        usual: the terms of many digits. The page says so when a third term is larger, or log p(x)
            lower, than for 19 of 20 of them.

    Raises:
        ValueError: another kind of model, grey images, or networks too large for a page.
    """
    _check(model)
    _check_digits(images, labels)
    rounded = _rounded(model)
    first = images[:1].double()
    q = rounded.encode(first)
    terms = decompose_on_grid(rounded, first, tolerance=1e-3)  # drawn with two digits
    posterior = posterior_on_grid(rounded, first, q, points=80)
    still = stills.still_digit(first[0], posterior, q, terms)
    digits = [
        {"label": int(label), "bits": pack_bits(image)}
        for image, label in zip(images, labels, strict=True)
    ]
    limits = usual and {
        "third": round(usual.kl_posterior.quantile(0.95).item(), 2),
        "evidence": round(usual.log_likelihood.quantile(0.05).item(), 2),
    }
    data = {
        "encoder": pack_layers(rounded.encoder),
        "decoder": pack_layers(rounded.decoder),
        "digits": digits,
        "usual": limits,
        "radius": RADIUS,
        "step": STEP,
    }
    description = (
        f"A handwritten {int(labels[0])}; beside it the latent plane with the true posterior, "
        "filled and purple, and the encoder's q, dashed gold ellipses; below, the three terms as "
        "bars that end at log p of x."
    )
    return LiveFigure("draw", description, data, still)


@torch.no_grad()
def explore_latent_plane(model: VAE, images: Tensor, labels: Tensor) -> LiveFigure:
    """Move a point over the latent plane: the decoder's mean, a sample, its variance. Chapter 3.

    Args:
        model: a Bernoulli VAE, Z = 2, one hidden layer with SiLU in each network; its weights are
            rounded to half precision. Only the decoder travels in the page.
        images: whose means of q(z|x) lie underneath, coloured by label, `[n, 784]`.
        labels: `[n]`.

    Raises:
        ValueError: another kind of model, or a decoder too large for a page.
    """
    _check(model)
    check_images(images, model.image_shape)
    rounded = _rounded(model)
    means = rounded.encode(images.double()).mean
    start = torch.zeros(1, 2, dtype=torch.float64)
    still = stills.still_plane(means, labels, start[0], rounded.decode(start).mean[0])
    data = {
        "decoder": pack_layers(rounded.decoder),
        "points": pack_points(means),
        "labels": "".join(str(int(label)) for label in labels),
    }
    description = (
        "The latent plane with the means of q of test digits, a colour and a numeral for each "
        "class; beside it what the decoder makes of the point in the middle: mean, sample and the "
        "variance of each pixel."
    )
    return LiveFigure("plane", description, data, still)


def move_q(model: LinearGaussian, x: Tensor) -> LiveFigure:
    """Move the mean and the width of q: three bars move, their sum stays at log p(x). Chapter 5.

    For a linear decoder and one latent dimension all three terms are quadratic in the mean and the
    width of q. log p(x) comes from the covariance of x, and not from the terms.

    Args:
        model: W, b and Ψ, Z = 1.
        x: one datum, `[1, D]`.

    Raises:
        ValueError: Z other than 1, more than one datum, or as `decompose_linear`.
    """
    if model.weight.shape[1] != 1 or len(x) != 1:
        got = f"Z = {model.weight.shape[1]} and {len(x)} of them"
        raise ValueError(f"expected Z = 1 and one datum, got {got}")
    zero, one = torch.zeros(1, 1, dtype=x.dtype), torch.ones(1, 1, dtype=x.dtype)
    started = decompose_linear(model, x, zero, one)
    scaled = (model.weight[:, 0] / model.noise_var).to(x.dtype)
    curvature = (scaled * model.weight[:, 0]).sum().item()  # WᵀΨ⁻¹W
    slope = (scaled * (x[0] - model.bias)).sum().item()  # WᵀΨ⁻¹(x − b)
    data = {
        "constant": started.reconstruction.item() + 0.5 * curvature,  # for q = a point at 0
        "slope": slope,
        "curvature": curvature,
        "logEvidence": started.log_likelihood.item(),
    }
    data = {name: round(value, 5) for name, value in data.items()}
    mean, precision = model.posterior(x)
    still = stills.still_terms(started, mean.item(), precision.item() ** -0.5)
    description = (
        "Three curves over the latent: the prior, the narrow posterior beside it, and q, which "
        "starts as wide as the prior; below, the three terms as bars that end at log p of x."
    )
    return LiveFigure("line", description, data, still)


@torch.no_grad()
def sampling_step(model: VAE, image: Tensor) -> LiveFigure:
    """Draw ε again while μ and σ stay: z and the gradient of log p(x|z) follow. Chapter 4.

    μ and σ are static: the encoder gives the same each time, and a reader may move them. ε is
    random, and may be turned off.

    Args:
        model: a Bernoulli VAE, Z = 2, one hidden layer with SiLU in each network; its weights are
            rounded to half precision. Only the decoder travels in the page.
        image: one digit, black and white, `[1, 784]`.

    Raises:
        ValueError: another kind of model, more than one image, a grey one, or a decoder too large
            for a page.
    """
    _check(model)
    _check_digits(image, [0])
    rounded = _rounded(model)
    x = image.double()
    q = rounded.encode(x)
    epsilon = torch.tensor([[1.0, -0.5]], dtype=torch.float64)
    z = q.mean + q.stddev * epsilon
    still = stills.still_sampling(x[0], q, z[0], rounded.decode(z).mean[0])
    data = {
        "decoder": pack_layers(rounded.decoder),
        "digit": pack_bits(x[0]),
        **_pack_gaussian(q),
        "epsilon": epsilon[0].tolist(),
    }
    description = (
        "A handwritten digit, the encoder's q on the latent plane as dashed ellipses with the "
        "drawn code z on it, and the image that the decoder makes of z."
    )
    return LiveFigure("sampling", description, data, still)


def _pack_gaussian(q: DiagonalGaussian) -> dict[str, list[float]]:
    """Mean and standard deviation of a q with batch `[1]`."""
    parts = {"mean": q.mean, "std": q.stddev}
    return {name: [round(v, 5) for v in part[0].tolist()] for name, part in parts.items()}


def _most_likely(model: VAE, x: Tensor) -> Tensor:
    """The largest log p(x|z) on a grid of codes, for a picture."""
    axis = torch.arange(-4, 4, 1 / 16, dtype=x.dtype)
    plane = torch.cartesian_prod(axis, axis)
    return (log_joint(model, x, plane)[0] - model.prior().log_prob(plane)).max()


def _rounded(model: VAE) -> VAE:
    """The same networks with weights of half precision, in float64."""
    rounded = copy.deepcopy(model).double()
    rounded.load_state_dict(
        {name: weight.half().double() for name, weight in model.state_dict().items()}
    )
    if not all(weight.isfinite().all() for weight in rounded.state_dict().values()):
        raise ValueError(
            "expected weights that half precision can hold (below 65,504), got larger ones"
        )
    return rounded


def _check(model: VAE) -> None:
    """Raise a `ValueError` unless the scripts can run this model."""
    config = (model.config or {}).get("mlp", {"likelihood": "another likelihood", "pixels": 784})
    kinds = [
        [type(layer) for layer in list(network)[:-1]] for network in (model.encoder, model.decoder)
    ]
    if (
        model.latent != 2
        or config["likelihood"] != "bernoulli"
        or kinds != [[nn.Linear, nn.SiLU, nn.Linear]] * 2
    ):
        layers = " and ".join(str(len(kind)) for kind in kinds)
        raise ValueError(
            "expected a Bernoulli VAE with 2 latent dimensions and one hidden layer with SiLU, "
            f"got {config['likelihood']}, Z = {model.latent}, {layers} layers"
        )
    if config["pixels"] != 784:
        raise ValueError(f"expected a model of 28 × 28 = 784 pixels, got {config['pixels']}")


def _check_digits(images: Tensor, labels: Sequence[int]) -> None:
    """Raise a `ValueError` unless the images are black and white, and each has a label."""
    check_images(images, (784,))
    if len(images) < 1 or len(images) != len(labels):
        got = f"{len(images)} and {len(labels)}"
        raise ValueError(f"expected at least one image and a label each, got {got}")
    if not ((images == 0) | (images == 1)).all():
        raise ValueError("expected pixels that are 0 or 1, got grey ones: binarize them first")
