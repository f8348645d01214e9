"""Live labs: what needs a kernel. One for each chapter: controls, a button, a progress bar, a picture."""

import asyncio
import copy
import html
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

import drawing
from deeper import (
    decompose_linear,
    encoder_variance,
    fit_linear_gaussian,
    pathwise_gradient,
    score_function_gradient,
)
from drawing import posterior_on_grid
from vae_core import (
    VAE,
    DiagonalGaussian,
    Settings,
    binarize,
    decompose_on_grid,
    fit,
    importance_log_likelihood,
)

NEEDS_KERNEL = "A lab with controls stands here when this page is opened as a notebook: it needs a running kernel."
Step = tuple[float, str, Figure | None]  # share that is done, what to say, what to show


def picture_of(figure: Figure) -> bytes:
    """Give a figure as PNG on a white ground, for a widget cannot hold an SVG; it is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    plt.close(figure)
    return buffer.getvalue()


class Lab:
    """Controls, a button, a progress bar and a picture. Running again cancels the last run.

    On a static page, where no kernel answers, a sentence stands in its place. A setting that cannot be run is named, and
    the last result stays.

    Args:
        steps: called with the values of the controls, by name; yields the share that is done, a text, and a figure or
            None. Between two steps the kernel answers others, so a step should take less than a second.
        controls: the widgets, by name.
    """

    def __init__(
        self, steps: Callable[..., Iterator[Step]], controls: Mapping[str, widgets.Widget]
    ):
        self.steps, self.controls = steps, dict(controls)
        self.button = widgets.Button(description="Run", button_style="primary")
        self.progress = widgets.FloatProgress(value=0, min=0, max=1, description="progress")
        self.message = widgets.HTML("")
        self.picture = widgets.Image(
            format="png", layout=widgets.Layout(max_width="100%", display="none")
        )
        self.task = None  # the run that is going on, an `asyncio.Task`
        for control in self.controls.values():
            control.style.description_width = "initial"
            control.layout.width = "24em"
        self.button.on_click(lambda button: self.start())
        row = widgets.HBox([self.button, self.progress])
        self.box = widgets.VBox([*self.controls.values(), row, self.message, self.picture])

    def start(self) -> None:
        """Cancel the last run, if it is still going, and begin another; needs a running event loop, as a kernel has."""
        last, self.task = self.task, asyncio.get_running_loop().create_task(self.run())
        if last is not None:
            last.cancel()

    async def run(self) -> None:
        """Take all steps, letting the kernel answer others between them."""
        values = {name: control.value for name, control in self.controls.items()}
        self.progress.value, self.progress.bar_style = 0, ""
        try:
            for share, text, figure in self.steps(**values):
                self.progress.value, self.message.value = share, html.escape(text)
                if figure is not None:
                    self.picture.value, self.picture.layout.display = picture_of(figure), ""
                await asyncio.sleep(0.01)
            self.progress.bar_style = "success"
        except (ValueError, FloatingPointError, OSError) as error:
            self.progress.bar_style = "danger"
            self.message.value = (
                f"<b>This cannot be run:</b> {html.escape(str(error))}. The last result stays."
            )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """What Jupyter shows: the widgets with a kernel, a sentence without."""
        bundle = self.box._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        sentence = f'<p class="vae-lab">{NEEDS_KERNEL}</p>'
        return {**data, "text/plain": NEEDS_KERNEL, "text/html": sentence}


def linear_lab(x_train: Tensor, x: Tensor) -> Lab:
    """Fit a linear-Gaussian model with Z dimensions, and see the three terms of a digit for three guesses. Chapter 5.

    Args:
        x_train: noisy digits, `[N, D]`, float64.
        x: digits to choose from, `[n, D]`, float64.
    """

    def steps(latent: int, digit: int) -> Iterator[Step]:
        for share, rounds in ((0.1, 2), (0.3, 10), (0.6, 40), (1.0, 150)):
            model = fit_linear_gaussian(x_train, latent, steps=rounds)
            mean, precision = model.posterior(x[digit : digit + 1])
            covariance = torch.linalg.inv(precision)
            eye = torch.eye(latent, dtype=x.dtype)
            means = torch.cat([mean, mean + 0.3, torch.zeros_like(mean)])
            terms = decompose_linear(
                model, x[digit].expand(3, -1), means, torch.stack([covariance, covariance, eye])
            )
            figure = drawing.plot_terms(terms, ["posterior", "pushed aside", "prior"])
            value = terms.log_likelihood[0].item()
            yield (
                share,
                f"after {rounds} rounds of EM: log p(x) = {value:.2f} nats, whatever the guess",
                figure,
            )

    controls = {
        "latent": widgets.IntSlider(
            10, 1, 60, description="latent dimensions Z", continuous_update=False
        ),
        "digit": widgets.BoundedIntText(0, 0, len(x) - 1, description="digit, by its place"),
    }
    return Lab(steps, controls)


def own_q_lab(model: VAE, x: Tensor) -> Lab:
    """Set a q of your own against the exact posterior of a digit. Chapter 2.

    Args:
        model: a VAE, Z = 2.
        x: digits to choose from, `[n, D]`.
    """

    def steps(
        digit: int, push_1: float, push_2: float, width_1: float, width_2: float
    ) -> Iterator[Step]:
        push, width = torch.tensor([[push_1, push_2], [width_1, width_2]], dtype=torch.float64)
        image = x[digit : digit + 1].double()
        exact = copy.deepcopy(model).double()
        q = exact.encode(image)
        own = DiagonalGaussian(q.mean + push, q.log_var + 2 * width.log())
        yield 0.2, "summing over the grid …", None
        theirs, ours = (decompose_on_grid(exact, image, guess) for guess in (q, own))
        posteriors = [posterior_on_grid(exact, image, guess) for guess in (q, own)]
        names = ["the encoder's q", "yours"]
        figure = drawing.plot_posteriors(image.expand(2, -1), posteriors, [q, own], names)
        text = (
            f"log p(x) = {ours.log_likelihood.item():.2f} nats. Third term: the encoder's {theirs.kl_posterior.item():.2f}, "
            f"yours {ours.kl_posterior.item():.2f} nats; ELBO {theirs.elbo.item():.2f} and {ours.elbo.item():.2f}."
        )
        yield 1.0, text, figure

    controls = {
        "digit": widgets.BoundedIntText(0, 0, len(x) - 1, description="digit, by its place"),
        "push_1": widgets.FloatSlider(
            0, min=-2, max=2, step=0.01, description="push the mean along z₁"
        ),
        "push_2": widgets.FloatSlider(
            0, min=-2, max=2, step=0.01, description="push the mean along z₂"
        ),
        "width_1": widgets.FloatSlider(
            1, min=0.1, max=4, step=0.01, description="times the width along z₁"
        ),
        "width_2": widgets.FloatSlider(
            1, min=0.1, max=4, step=0.01, description="times the width along z₂"
        ),
    }
    return Lab(steps, controls)


def training_lab(images: Tensor) -> Lab:
    """Train anew with another decoder, latent size or weight β of the second term. Chapter 3.

    Args:
        images: grey digits, `[N, D]`; a tenth of them is held out.
    """
    held = max(1, len(images) // 10)

    def steps(decoder: str, latent: int, beta: float, epochs: int) -> Iterator[Step]:
        generator = torch.Generator().manual_seed(0)
        model = VAE.mlp(latent, (128,), decoder, images.shape[1], generator=generator)
        transform = binarize if decoder == "bernoulli" else None
        seen = (
            images[:8]
            if transform is None
            else binarize(images[:8], torch.Generator().manual_seed(1))
        )
        with tempfile.TemporaryDirectory() as folder:
            for epoch in range(1, epochs + 1):
                history = fit(
                    model,
                    images[held:],
                    Settings(epochs=epoch, beta=beta),
                    validation=images[:held],
                    transform=transform,
                    generator=generator,
                    checkpoint=Path(folder) / "lab.pt",
                    progress=False,
                )
                text = (
                    f"epoch {epoch} of {epochs}: on held-out digits first term {history.validation_reconstruction[-1]:.1f}, "
                    f"KL to the prior {history.validation_kl[-1]:.1f}, ELBO {history.validation_elbo[-1]:.1f} nats"
                )
                figure = None
                if epoch in (1, epochs) or epoch % 5 == 0:
                    with torch.no_grad():
                        means = model.decode(model.encode(seen).mean).mean
                    drawn = model.sample(8, torch.Generator().manual_seed(2))
                    labels = ["data", "means given their codes", "samples, z from the prior"]
                    figure = drawing.show_images([seen, means, drawn], labels)
                yield epoch / epochs, text, figure

    controls = {
        "decoder": widgets.Dropdown(options=["bernoulli", "gaussian"], description="decoder"),
        "latent": widgets.IntSlider(10, 1, 50, description="latent dimensions Z"),
        "beta": widgets.FloatLogSlider(
            1.0, min=-2, max=2, step=0.1, description="β, weight of the KL term"
        ),
        "epochs": widgets.IntSlider(10, 1, 40, description="epochs"),
    }
    return Lab(steps, controls)


def estimator_lab(images: Tensor) -> Lab:
    """How noisy are the two estimators of the encoder's gradient, for your Z and your training? Chapters 4 and 8.

    Args:
        images: grey digits, `[N, D]`.
    """

    def steps(latent: int, epochs: int, draws: int) -> Iterator[Step]:
        generator = torch.Generator().manual_seed(0)
        model = VAE.mlp(latent, (100,), "bernoulli", images.shape[1], generator=generator)
        x = binarize(images[:10], torch.Generator().manual_seed(1))
        found: dict[int, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            for epoch in range(epochs + 1):
                if epoch:
                    where = Path(folder) / "lab.pt"
                    fit(
                        model,
                        images,
                        Settings(epochs=epoch),
                        transform=binarize,
                        generator=generator,
                        checkpoint=where,
                        progress=False,
                    )
                noise = torch.randn(
                    draws, len(x), latent, generator=torch.Generator().manual_seed(2)
                )
                path = encoder_variance(model, x, pathwise_gradient(model, x, noise))
                score = encoder_variance(model, x, score_function_gradient(model, x, noise))
                found[epoch] = (score / path).median().item()
                text = (
                    f"after {epoch} epochs one draw of the score function has {found[epoch]:.1f} times the variance of a "
                    f"pathwise draw, {found[epoch] ** 0.5:.1f} times its standard deviation (median of {len(x)} digits)"
                )
                last = epoch == epochs
                yield (
                    (epoch + 1) / (epochs + 1),
                    text,
                    drawing.plot_ratio_by_epoch(found) if last else None,
                )

    controls = {
        "latent": widgets.IntSlider(10, 1, 50, description="latent dimensions Z"),
        "epochs": widgets.IntSlider(5, 0, 20, description="epochs of training"),
        "draws": widgets.IntSlider(100, 2, 400, description="draws of the noise"),
    }
    return Lab(steps, controls)


def bound_lab(model: VAE, x: Tensor) -> Lab:
    """Watch the importance-weighted bound climb towards log p(x), which is known here. Chapter 9.

    Args:
        model: a VAE, Z = 1 or 2, so that log p(x) is known.
        x: digits, `[n, D]`.
    """

    def steps(digits: int, most: int, seed: int) -> Iterator[Step]:
        if digits > len(x):
            raise ValueError(f"expected at most {len(x)} digits, got {digits}")
        some = x[:digits].to(model.decoder[0].weight.dtype)
        exact = decompose_on_grid(model, some).log_likelihood.mean().item()
        counts = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000) if k <= most]
        found = {}
        for place, count in enumerate(counts, 1):
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                found[count] = (
                    importance_log_likelihood(model, some, count, generator=generator).mean().item()
                )
            text = f"K = {count:,}: {found[count]:.2f} nats, {exact - found[count]:.2f} below log p(x) = {exact:.2f}"
            figure = (
                drawing.plot_bounds(list(found), list(found.values()), exact)
                if place in (len(counts) // 2, len(counts))
                else None
            )
            yield place / len(counts), text, figure

    controls = {
        "digits": widgets.IntSlider(20, 1, 100, description="digits"),
        "most": widgets.SelectionSlider(
            options=[10, 100, 1_000, 5_000], value=1_000, description="largest K"
        ),
        "seed": widgets.BoundedIntText(0, 0, 1_000, description="seed"),
    }
    return Lab(steps, controls)


def throw_lab(model: VAE, x: Tensor) -> Lab:
    """Throw, keep and count: log p(x) of a digit from codes of the prior, and the survivors. Chapter 1.

    Args:
        model: a VAE, Z = 2.
        x: digits to choose from, `[n, D]`.
    """

    @torch.no_grad()
    def steps(digit: int, codes: int, seed: int) -> Iterator[Step]:
        generator = torch.Generator().manual_seed(seed)
        thrower, image = copy.deepcopy(model).double(), x[digit : digit + 1].double()
        prior = thrower.prior()
        z = prior.sample((codes,), generator=generator)
        parts = z[:, None].split(5_000)
        found = []
        for part in parts:
            found.append(thrower.log_likelihood(image, part)[:, 0])
            share = 0.9 * len(found) / len(parts)
            yield share, f"{sum(map(len, found)):,} codes thrown …", None
        log_px_z = torch.cat(found)
        chance = (log_px_z - log_px_z.max()).exp()
        thrown = (log_px_z.max() + chance.mean().log()).item()
        noise = torch.rand(codes, generator=generator, dtype=z.dtype)
        kept = z[noise < chance]  # the best code always
        error = (chance.std() / chance.mean() / codes**0.5).item()
        exact = decompose_on_grid(thrower, image).log_likelihood.item()
        text = (
            f"log p(x) = {thrown:.3f} ± {error:.3f} nats from {codes:,} codes, {exact:.3f} from a grid. "
            f"{len(kept):,} codes survive; {_count(thrower, image, kept)}"
        )
        yield 1.0, text, drawing.plot_survivors(z, kept, thrower.encode(image))

    controls = {
        "digit": widgets.BoundedIntText(0, 0, len(x) - 1, description="digit, by its place"),
        "codes": widgets.SelectionSlider(
            options=[100, 1_000, 10_000, 100_000, 400_000], value=100_000, description="codes"
        ),
        "seed": widgets.BoundedIntText(0, 0, 1_000, description="seed"),
    }
    return Lab(steps, controls)


def _count(model: VAE, x: Tensor, kept: Tensor) -> str:
    """What Bayes' rule gives at the mean of the survivors, from those in a box one std wide."""
    if len(kept) < 20:
        return "too few to count."
    place, unit = kept.mean(0, keepdim=True), kept.std(0)
    inside = ((kept - place).abs() < unit / 2).all(1).sum()
    if not inside:
        return "none of them lies near their mean, so there is nothing to count there."
    log_posterior = (inside / len(kept) / unit.prod()).log()
    value = model.log_likelihood(x, place[:, None]) + model.prior().log_prob(place) - log_posterior
    return f"counted at their mean, Bayes' rule gives {value.item():.2f} ± {inside.item() ** -0.5:.2f}."
