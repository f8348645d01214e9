"""The live figures in a real browser, driven by mouse and keyboard, beside what Python computes."""

import json
import math
import re

import numpy as np
import pytest
import torch

from deeper import add_pixel_noise, decompose_linear, fit_linear_gaussian
from drawing.style import COLORS, DARK
from live import (
    LiveFigure,
    draw_a_digit,
    explore_latent_plane,
    move_q,
    rain_of_codes,
    sampling_step,
)
from vae_core import (
    VAE,
    DiagonalGaussian,
    binarize,
    decompose_on_grid,
    load_digits,
    load_pretrained,
    log_joint,
)

pytestmark = pytest.mark.slow

PICKED = [400, *range(0, 400, 50), 450]  # the first has a large third term
TERMS = ("reconstruction", "kl_prior", "kl_posterior", "likelihood")


@pytest.fixture(scope="module")
def model():
    return load_pretrained().model.double()


@pytest.fixture(scope="module")
def test_digits():
    grey, labels = load_digits("test")
    return binarize(grey, torch.Generator().manual_seed(1)).double(), labels


@pytest.fixture(scope="module")
def linear():
    noisy = add_pixel_noise(
        load_digits("train").images[::4].double(), generator=torch.Generator().manual_seed(0)
    )
    return fit_linear_gaussian(noisy, 1, steps=20), noisy[:1]


@pytest.fixture(scope="module")
def figures(model, test_digits, linear):
    x, labels = test_digits
    picked = torch.tensor(PICKED)
    return {
        "rain": rain_of_codes(model, x[446:447]),
        "draw": draw_a_digit(model, x[picked], labels[picked], decompose_on_grid(model, x[::5])),
        "plane": explore_latent_plane(model, x, labels),
        "line": move_q(*linear),
        "sampling": sampling_step(model, x[:1]),
    }


@pytest.fixture
def opened(browser, figures, tmp_path):
    """A function that opens a page with figures; no error is said and no other host is asked."""
    pages, said = [], []

    def open_page(
        *names, change=lambda html: html, script="", state="ready", quiet=True, **settings
    ):
        path = tmp_path / f"{len(pages)}.html"
        body = "\n".join(change(figures[name].html) for name in names)
        path.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title><body>{body}',
            encoding="utf-8",
        )
        page = browser.new_page(**{"viewport": {"width": 800, "height": 1100}, **settings})
        pages.append(page)
        if quiet:
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on(
                "console",
                lambda message: said.append(message.text) if message.type == "error" else None,
            )
            page.on(
                "request",
                lambda request: (
                    said.append(request.url)
                    if not request.url.startswith(("file:", "data:"))
                    else None
                ),
            )
        if script:
            page.add_init_script(script)
        page.goto(path.as_uri())
        if state:
            every = "[...document.querySelectorAll('[data-vae]')].every"
            page.wait_for_function(f"{every}(f => f.dataset.state == '{state}')")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []


def live(page, what):
    """A value of the figure's own state."""
    return page.evaluate(
        f"() => {{ const {{ state }} = document.querySelector('[data-vae]').live; return {what}; }}"
    )


def shown(page, place):
    """What a canvas shows, 28 × 28 grey values from 0 to 255."""
    values = page.evaluate(
        "n => { const c = document.querySelectorAll('canvas.vae-picture')[n];"
        " const numbers = [...c.getContext('2d').getImageData(0, 0, 28, 28).data];"
        " return numbers.filter((_, i) => i % 4 == 0); }",
        place,
    )
    return np.array(values)


def axis_cut(page):
    """Minus the value at which the bars' axis is cut."""
    text = page.locator(".vae-cut").inner_text().removeprefix("axis cut at ")
    return -float(text.replace("−", "-"))


def same_picture(page, place, values):
    assert (
        np.abs(shown(page, place) - 255 * values.detach().double().numpy().reshape(-1)).max() < 0.51
    )


def numbers(page):
    """The numbers that the reader sees, in nats."""
    texts = [page.locator(f'output[data-term="{name}"]').inner_text() for name in TERMS]
    return [float(re.fullmatch(r"(−?\d+\.\d\d) nats", text)[1].replace("−", "-")) for text in texts]


def agrees(page, model, x, q=None):
    """The figure's terms are those of `decompose_on_grid`, to 0.01 nat, and are what it prints."""
    terms = decompose_on_grid(model, x, q)
    expected = [
        t.item()
        for t in (terms.reconstruction, terms.kl_prior, terms.kl_posterior, terms.log_likelihood)
    ]
    found = live(page, "state.terms")
    assert [found[name] for name in TERMS] == pytest.approx(expected, abs=0.01)
    assert numbers(page) == pytest.approx(expected, abs=0.016)
    return expected


# Which shares of a canvas are filled strongly, and at all, with a colour on the page's ground.
SHADE = """([name, variable]) => {
  const canvas = document.querySelector(name);
  const style = getComputedStyle(canvas);
  const color = style.getPropertyValue(variable).trim().slice(1);
  const [red, green, blue] = [0, 2, 4].map(i => parseInt(color.slice(i, i + 2), 16));
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [inner, outer] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const near = [red, green, blue].every((c, k) => Math.abs(data[i + k] - c) < 30);
    if (!near || !data[i + 3]) continue;
    outer += 1;
    if (data[i + 3] > 140) inner += 1;
  }
  return [inner, outer].map(n => 4 * n / data.length);
}"""


def more(page):
    """Open what is folded away."""
    page.locator(".vae-more > summary").click()


def image_of(page):
    return torch.tensor(live(page, "[...state.x]"), dtype=torch.float64)[None]


def q_of(page):
    q = live(page, "state.q")
    return DiagonalGaussian(
        *(
            torch.tensor([v], dtype=torch.float64)
            for v in (q["mean"], [2 * math.log(s) for s in q["std"]])
        )
    )


def stroke(page, canvas, points):
    """Draw with the mouse; points in shares of the canvas."""
    box = page.locator(canvas).bounding_box()
    places = [(box["x"] + px * box["width"], box["y"] + py * box["height"]) for px, py in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


class TestDraw:
    def test_it_opens_on_a_large_third_term_and_says_so(self, opened, model, test_digits):
        page = opened("draw")
        assert agrees(page, model, test_digits[0][PICKED[0]][None])[2] > 10
        assert "larger than for 19 of 20" in page.locator(".vae-message").inner_text()
        assert page.get_by_text("Drag the gold dot").is_visible()
        assert re.fullmatch(r"axis cut at −\d+", page.locator(".vae-cut").inner_text())

    def test_every_digit_has_the_terms_of_decompose_on_grid(self, opened, model, test_digits):
        page = opened("draw")
        x, _ = test_digits
        for i in range(10):
            page.select_option("select", str(i))
            agrees(page, model, x[PICKED[i]][None])
            same_picture(page, 0, x[PICKED[i]])

    def test_a_drawing_is_centred_scaled_and_decomposed(self, opened, model):
        page = opened("draw")
        # a small seven, far from the middle
        stroke(page, ".vae-pad", [(0.2, 0.1), (0.3, 0.1), (0.25, 0.45)])
        x = image_of(page)
        assert page.input_value("select") == "" and set(x.unique().tolist()) == {0, 1}
        agrees(page, model, x)
        rows, columns = torch.nonzero(x.reshape(28, 28), as_tuple=True)
        assert abs(rows.double().mean() - 13.5) < 0.6 and abs(columns.double().mean() - 13.5) < 0.6
        assert max(rows.max() - rows.min(), columns.max() - columns.min()) + 1 in (19, 20, 21)
        same_picture(page, 0, x)
        more(page)
        page.get_by_text("centre and scale").click()
        raw = image_of(page)
        assert torch.nonzero(raw.reshape(28, 28))[:, 1].max() < 10
        agrees(page, model, raw)

    def test_what_is_odd_about_a_scribble_is_said(self, opened, model):
        page = opened("draw")
        said = page.locator(".vae-message")
        page.select_option("select", "1")
        assert said.inner_text() == ""
        stroke(page, ".vae-pad", [(0.1, 0.5), (0.9, 0.5)])
        # a line: likely enough, but not where the encoder points
        assert agrees(page, model, image_of(page))[2] > 15
        assert (
            "third term is larger than for 19 of 20" in said.inner_text()
            and "log p(x) is lower" not in said.inner_text()
        )
        page.get_by_role("button", name="clear").click()
        stroke(page, ".vae-pad", [(0.1 + 0.08 * i, 0.1 + 0.8 * (i % 2)) for i in range(11)])
        assert agrees(page, model, image_of(page))[3] < -400  # a zigzag: no code makes it likely
        assert (
            "log p(x) is lower than for 19 of 20" in said.inner_text()
            and "third term is larger" not in said.inner_text()
        )

    def test_the_keyboard_draws_too(self, opened, model):
        page = opened("draw")
        page.locator(".vae-pad").focus()
        page.keyboard.press("Escape")
        assert (
            image_of(page).sum() == 0
            and "Nothing is drawn" in page.locator(".vae-message").inner_text()
        )
        page.keyboard.press("Space")
        for key in ["ArrowDown"] * 8 + ["ArrowRight"] * 4:
            page.keyboard.press(key)
        page.keyboard.press("Space")
        for key in ["ArrowUp"] * 3:  # the pen is up
            page.keyboard.press(key)
        page.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        x = image_of(page)
        assert x.sum() > 20 and live(page, "state.owned") is False
        agrees(page, model, x)

    def test_q_follows_mouse_sliders_and_arrow_keys(self, opened, model, test_digits):
        page = opened("draw")
        more(page)
        x = test_digits[0][PICKED[0]][None]
        before, view = live(page, "state.q.mean"), live(page, "state.view")
        stroke(page, ".vae-map", [(0.5, 0.5), (0.6, 0.4)])
        assert live(page, "state.q.mean") != before and live(page, "state.view") == view
        at = [
            view[0][0] + 0.6 * (view[0][1] - view[0][0]),
            view[1][1] - 0.4 * (view[1][1] - view[1][0]),
        ]
        assert live(page, "state.q.mean") == pytest.approx(at, abs=0.02)
        agrees(page, model, x, q_of(page))
        page.locator(".vae-map").focus()
        for key in ("ArrowLeft", "ArrowDown", "Shift+ArrowUp"):
            page.keyboard.press(key)
        agrees(page, model, x, q_of(page))
        wide = page.get_by_label("standard deviation of q along z₁")
        wide.fill("-0.3")
        agrees(page, model, x, q_of(page))
        assert live(page, "state.q.std[0]") == pytest.approx(math.exp(-0.3))
        assert live(page, "state.q.std[1] == state.encoder.std[1]")  # the other one did not move
        assert "nearer" in page.locator(".vae-message").inner_text()
        page.get_by_role("button", name="back to the encoder's q").click()
        agrees(page, model, x)

    def test_the_terms_have_names_in_words_and_the_first_one_a_subscript(self, opened):
        page = opened("draw")
        rows = page.locator(".vae-bar-row")
        assert rows.locator("sub").all_inner_texts() == ["q"]
        for words in ("mean under q of log p of x given z", "minus the KL of q to the prior"):
            assert page.get_by_role("group", name=words).count() == 1

    def test_a_q_at_the_edge_of_the_plane_is_still_right(self, opened, model, test_digits):
        page = opened("draw")
        page.evaluate(
            "document.querySelector('[data-vae]').live.own({ mean: [99, -99], std: [1.2, 0.1] })"
        )
        agrees(page, model, test_digits[0][PICKED[0]][None], q_of(page))

    def test_a_shifted_digit(self, opened, model, test_digits):
        page = opened("draw")
        more(page)
        page.select_option("select", "1")
        x = test_digits[0][:1]
        for _ in range(4):
            page.get_by_label("shift right by").press("ArrowRight")
        moved = x.reshape(28, 28).roll(4, 1).reshape(1, -1)
        assert torch.equal(image_of(page), moved)
        assert agrees(page, model, moved)[2] > decompose_on_grid(model, x).kl_posterior.item()

    def test_a_sample_is_decoded_as_python_decodes_it(self, opened, model):
        page = opened("draw")
        more(page)
        for _ in range(2):
            page.get_by_role("button", name="draw z again").click()
            z = torch.tensor(live(page, "state.z"), dtype=torch.float64)
            same_picture(page, 1, model.decode(z).mean)
            assert set(shown(page, 2)) == {0, 255}

    def test_the_contours_hold_as_much_as_one_and_two_sigma(self, opened, model, test_digits):
        page = opened("draw")
        x = test_digits[0][PICKED[0]][None]
        (a, b), (c, d) = live(page, "state.view")
        n = 96
        cells = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        plane = torch.cartesian_prod(a + (b - a) * cells, c + (d - c) * cells)
        expected = log_joint(model, x, plane)[0]
        found = torch.tensor(live(page, "[...state.density]"), dtype=torch.float64)
        near = expected > expected.max() - 10
        assert (found - expected)[near].abs().max() < 0.01
        ranked = expected.sort(descending=True).values
        held = ranked.softmax(0).cumsum(0)
        levels = [ranked[(held < 1 - math.exp(-0.5 * r * r)).sum()].item() for r in (1, 2)]
        # what is filled on the canvas: twice as strong inside, of the colour of the posterior
        alpha = page.evaluate(SHADE, [".vae-map", "--vae-posterior"])
        share = [(expected > level).double().mean().item() for level in levels]
        assert alpha == pytest.approx(share, rel=0.12)


class TestPlane:
    def holds(self, page, model):
        z = torch.tensor(live(page, "state.z"), dtype=torch.float64)
        mean = model.decode(z).mean
        same_picture(page, 0, mean)
        same_picture(page, 2, 4 * mean * (1 - mean))
        draws = torch.tensor(live(page, "[...state.draws]"), dtype=torch.float64)
        same_picture(page, 1, (draws < mean).double())
        return z.tolist()

    def test_the_decoder_follows_mouse_keys_and_sliders(self, opened, model):
        page = opened("plane")
        assert self.holds(page, model) == [0, 0]
        stroke(page, ".vae-map", [(0.5, 0.5), (0.75, 0.25)])
        assert self.holds(page, model) == pytest.approx([2, 2], abs=0.05)
        page.locator(".vae-map").focus()
        page.keyboard.press("ArrowLeft")
        assert self.holds(page, model)[0] == pytest.approx(1.6, abs=0.05)
        page.get_by_label("z₂").fill("-3.5")
        assert self.holds(page, model)[1] == -3.5
        assert "−3.50" in page.locator(".vae-message").inner_text()
        drawn = shown(page, 1)
        page.get_by_role("button", name="draw again").click()
        self.holds(page, model)
        assert (shown(page, 1) != drawn).any()

    def test_a_key_names_the_colour_of_each_class(self, opened):
        page = opened("plane")
        keys = page.locator(".vae-legend > span")
        assert keys.all_inner_texts() == [str(digit) for digit in range(10)]
        grounds = "all => all.map(e => getComputedStyle(e.firstChild).backgroundColor)"
        assert len(set(keys.evaluate_all(grounds))) == 10

    def test_the_dots_are_the_means_of_q(self, opened, model, test_digits):
        page = opened("plane")
        x, labels = test_digits
        codes = model.encode(x).mean
        for i in (3, 120, 400):
            page.evaluate(
                "z => document.querySelector('[data-vae]').live.move(z)", codes[i].tolist()
            )
            near = (codes - codes[i]).norm(dim=1).argmin()
            assert (
                f"The nearest test digit is a {labels[near]}."
                in page.locator(".vae-message").inner_text()
            )


class TestLine:
    def test_three_bars_move_and_their_sum_does_not(self, opened, linear):
        page = opened("line")

        def holds():
            mean, std = live(page, "[state.mean, state.std]")
            terms = decompose_linear(
                *linear, torch.tensor([[mean]]).double(), torch.tensor([[[std**2]]]).double()
            )
            expected = [
                t.item()
                for t in (
                    terms.reconstruction,
                    terms.kl_prior,
                    terms.kl_posterior,
                    terms.log_likelihood,
                )
            ]
            assert numbers(page) == pytest.approx(expected, abs=0.006)
            assert abs(live(page, "state.residual")) < 1e-3
            return mean, std

        assert holds() == (0, 1)
        stroke(page, ".vae-line", [(0.5, 0.5), (0.7, 0.5)])
        assert holds()[0] == pytest.approx(1.28, abs=0.03)
        page.locator(".vae-line").focus()
        for key in ("ArrowLeft", "ArrowDown", "ArrowDown", "Shift+ArrowRight"):
            page.keyboard.press(key)
        mean, std = holds()
        assert mean == pytest.approx(1.19, abs=0.03) and std == pytest.approx(1.1**-2)
        page.get_by_label("standard deviation of q").fill("0.5")
        page.get_by_label("mean of q").fill("-2")
        assert holds() == (-2, pytest.approx(math.exp(0.5)))
        page.get_by_role("button", name="q = the posterior").click()
        holds()
        assert (
            numbers(page)[2] == 0
            and "q is the posterior" in page.locator(".vae-message").inner_text()
        )

    def test_the_bars_are_drawn_to_the_numbers(self, opened):
        page = opened("line")
        stroke(page, ".vae-line", [(0.5, 0.5), (0.62, 0.5)])
        first, prior, third, last = (live(page, f"state.terms.{name}") for name in TERMS)
        places = page.evaluate(
            "[...document.querySelectorAll('.vae-bar')]"
            ".map(b => [b.style.left, b.style.width].map(parseFloat))"
        )
        ends = [(left, left + width) for left, width in places]
        nats = (62 - ends[3][0]) / (last + float(axis_cut(page)))
        assert nats > 0 and ends[3] == pytest.approx((0, 62))
        assert ends[0][1] == pytest.approx(62 + nats * (first - last), abs=0.6)
        assert ends[1] == pytest.approx(
            sorted(62 + nats * (v - last) for v in (first, first - prior)), abs=0.6
        )
        assert ends[2] == pytest.approx((62 - nats * third, 62), abs=0.6)


class TestSampling:
    def test_what_is_static_and_what_is_random(self, opened):
        page = opened("sampling")
        cards = page.locator(".vae-card")
        assert [text.split("\n")[1] for text in cards.all_inner_texts()] == [
            "result",
            "static",
            "static",
            "random",
        ]
        before = cards.all_inner_texts()
        page.get_by_role("button", name="50 times").click()
        after = cards.all_inner_texts()
        assert [a == b for a, b in zip(before, after)] == [False, True, True, False]
        assert live(page, "state.earlier.length") == 50

    def test_z_and_its_gradient_follow(self, opened, model, test_digits):
        page = opened("sampling")
        x = test_digits[0][:1]

        def holds():
            mean, std, epsilon = (
                torch.tensor([live(page, f"state.{name}")], dtype=torch.float64).requires_grad_()
                for name in ("mean", "std", "shown")
            )
            z = mean + std * epsilon
            value = model.decode(z).log_prob(x)
            by_mean, by_std = torch.autograd.grad(value, (mean, std))
            assert live(page, "state.z") == pytest.approx(z[0].tolist())
            assert live(page, "state.logLikelihood") == pytest.approx(value.item())
            assert live(page, "state.byMean") == pytest.approx(by_mean[0].tolist())
            assert live(page, "state.byStd") == pytest.approx(by_std[0].tolist(), abs=1e-9)
            same_picture(page, 1, model.decode(z).mean[0])
            return z[0].tolist(), mean[0].tolist()

        first, mean = holds()
        assert mean == pytest.approx(model.encode(x).mean[0].tolist(), abs=1e-5)
        page.get_by_role("button", name="draw ε again").click()
        second, still_there = holds()
        assert second != first and still_there == mean
        page.get_by_label("noise on").uncheck()
        off, _ = holds()
        assert off == mean and "its gradient is 0" in page.locator(".vae-message").inner_text()
        page.get_by_label("noise on").check()
        page.get_by_label("σ₂").fill("-1")
        page.locator(".vae-map").focus()
        page.keyboard.press("ArrowRight")
        _, moved = holds()
        assert moved != mean


def numbers_of(seed):
    """The stream of random.js: mulberry32, and Box–Muller."""
    state = seed

    def uniform():
        nonlocal state
        state = (state + 1831565813) % 2**32
        mixed = (state ^ (state >> 15)) * (state | 1) % 2**32
        mixed ^= (mixed + (mixed ^ (mixed >> 7)) * (mixed | 61)) % 2**32
        return (mixed ^ (mixed >> 14)) / 2**32

    def normal():
        radius = math.sqrt(-2 * math.log(1 - uniform()))
        return radius * math.cos(2 * math.pi * uniform())

    return uniform, normal


class TestRain:
    def test_it_throws_keeps_and_counts_as_python_does(self, opened, model, test_digits):
        page = opened("rain")
        x = test_digits[0][446:447]
        uniform, normal = numbers_of(1)
        draws = [(normal(), normal(), uniform()) for _ in range(2100)]
        draws = torch.tensor(draws, dtype=torch.float64)
        z, chance = draws[:, :2], draws[:, 2]
        log_px = model.log_likelihood(x, z[:, None])[:, 0]

        def holds(n):
            state = live(page, "state")
            ratio = (log_px[:n] - state["most"]).exp()
            kept = z[:n][chance[:n] < ratio]
            assert state["thrown"] == n
            assert torch.tensor(state["kept"]).double().allclose(kept, atol=1e-12)
            mean, error = ratio.mean(), ratio.std(correction=0) / n**0.5
            assert state["estimate"]["logMean"] == pytest.approx(
                state["most"] + mean.log().item(), abs=1e-3
            )
            assert state["estimate"]["error"] == pytest.approx((error / mean).item(), rel=1e-3)
            counted = page.locator(".vae-counter").first.inner_text()
            assert counted == f"thrown {n:,} · kept {len(kept)}"
            return state

        state = holds(2000)
        exact = decompose_on_grid(model, x).log_likelihood.item()
        assert state["logEvidence"] == pytest.approx(exact, abs=0.01)
        axis = torch.arange(-4, 4, 1 / 64, dtype=torch.float64)
        plane = torch.cartesian_prod(axis, axis)
        most = (log_joint(model, x, plane)[0] - model.prior().log_prob(plane)).max()
        assert state["most"] == pytest.approx(most.item(), abs=0.01)
        page.get_by_role("button", name="throw 100").click()
        holds(2100)
        same_picture(page, 0, x[0])
        same_picture(page, 1, model.decode(z[-1:]).mean)
        page.get_by_role("button", name="throw 10,000").click()
        late = live(page, "state")
        assert late["thrown"] == 12_100
        assert late["estimate"]["logMean"] == pytest.approx(
            exact, abs=4 * late["estimate"]["error"]
        )
        written = page.locator(".vae-counter").last.inner_text().replace("−", "-")
        mean, error, grid = (float(text) for text in re.findall(r"-?\d+\.\d+", written))
        assert (mean, error) == pytest.approx(
            (late["estimate"]["logMean"], late["estimate"]["error"]), abs=0.006
        )
        assert grid == pytest.approx(exact, abs=0.016)
        page.get_by_role("button", name="start over").click()
        assert live(page, "state.thrown") == 0
        assert "no codes yet" in page.locator(".vae-counter").last.inner_text()

    def test_rain_falls_until_it_is_stopped(self, opened):
        page = opened("rain")
        rain = page.get_by_role("button", name="rain")
        rain.click()
        assert rain.get_attribute("aria-pressed") == "true"
        page.wait_for_function(
            "document.querySelector('[data-vae]').live.state.thrown > 2100", timeout=20_000
        )
        rain.press("Enter")
        assert rain.get_attribute("aria-pressed") == "false"
        thrown = live(page, "state.thrown")
        page.wait_for_timeout(200)
        assert live(page, "state.thrown") == thrown
        assert f"of {thrown:,} codes" in page.locator(".vae-message").inner_text()

    def test_nothing_moves_for_who_wants_less_motion(self, opened):
        page = opened("rain", reduced_motion="reduce")
        rain = page.get_by_role("button", name="rain")
        rain.click()
        assert live(page, "state.thrown") == 4500
        assert rain.get_attribute("aria-pressed") == "false"

    def test_q_is_shown_when_asked_for(self, opened):
        page = opened("rain")
        drawn = "document.querySelector('.vae-map').toDataURL()"
        plain = page.evaluate(drawn)
        page.get_by_label("show q(z|x)").check()
        with_q = page.evaluate(drawn)
        page.get_by_label("look closer").check()
        assert len({plain, with_q, page.evaluate(drawn)}) == 3


ALL = ("rain", "draw", "plane", "line", "sampling")
every_figure = pytest.mark.parametrize("name", ALL)


class TestEverywhere:
    def test_all_on_one_page(self, opened):
        page = opened(*ALL, "draw")
        assert (
            page.locator(".vae-stage:visible").count() == 6
            and page.locator(".vae-still:visible").count() == 0
        )

    @every_figure
    def test_without_scripts_there_is_a_still_picture_and_a_sentence(self, opened, name):
        page = opened(name, state=None, java_script_enabled=False)
        assert (
            page.locator(".vae-still").is_visible() and not page.locator(".vae-stage").is_visible()
        )
        assert page.locator("noscript").inner_text().startswith("This is a still picture")

    @every_figure
    def test_without_canvas_the_still_picture_stays(self, opened, name):
        page = opened(
            name,
            script="delete HTMLCanvasElement.prototype.getContext",
            state="failed",
            quiet=False,
        )
        assert (
            page.locator(".vae-still").is_visible() and not page.locator(".vae-stage").is_visible()
        )

    @every_figure
    def test_a_broken_script_is_heard_and_the_still_picture_stays(self, opened, name):
        page = opened(
            name,
            change=lambda html: html.replace("stage.append(", "stagger.append("),
            state="failed",
            quiet=False,
        )
        assert (
            page.locator(".vae-still").is_visible() and not page.locator(".vae-stage").is_visible()
        )

    @every_figure
    def test_print_shows_the_still_picture(self, opened, name):
        page = opened(name)
        page.emulate_media(media="print")
        assert (
            page.locator(".vae-still").is_visible() and not page.locator(".vae-stage").is_visible()
        )

    @every_figure
    def test_everything_that_answers_has_a_name(self, opened, name):
        page = opened(name)
        for kind in ("input", "select", "button", "canvas"):
            for part in page.locator(f".vae-stage {kind}:visible").all():
                assert part.evaluate(
                    "e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent"
                ).strip()

    @every_figure
    @pytest.mark.parametrize("width", [360, 1200])
    def test_nothing_is_wider_than_the_page(self, opened, name, width):
        page = opened(name, viewport={"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    @every_figure
    def test_a_finger_can_drag(self, opened, name):
        page = opened(name, has_touch=True)
        canvas = page.locator(".vae-map, .vae-line").first
        box = canvas.bounding_box()
        before = page.locator(".vae-stage").inner_text()
        if name == "rain":  # nothing to drag: the page scrolls, the buttons answer
            page.get_by_role("button", name="throw 100").tap()
            assert page.locator(".vae-stage").inner_text() != before
            assert canvas.evaluate("c => getComputedStyle(c).touchAction") == "auto"
            return
        page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
        assert page.locator(".vae-stage").inner_text() != before
        assert canvas.evaluate("c => getComputedStyle(c).touchAction") == "none"

    @every_figure
    @pytest.mark.parametrize("switch", ["book", "lab"])
    def test_it_turns_dark_with_the_page(self, opened, name, switch):
        page = opened(name, viewport={"width": 390, "height": 900})
        canvas = page.locator(".vae-map, .vae-line").first
        light = canvas.evaluate("c => c.toDataURL()")
        page.evaluate(
            {
                "book": "document.documentElement.dataset.theme = 'dark'",
                "lab": "document.body.setAttribute('data-jp-theme-light', 'false')",
            }[switch]
        )
        ground, text, q = page.evaluate(
            "(() => { const style = getComputedStyle(document.querySelector('.vae-stage'));"
            " return [style.backgroundColor, style.color, style.getPropertyValue('--vae-q')]; })()"
        )
        ground, text = (
            sum(map(int, re.findall(r"\d+", color)[:3])) / 3 for color in (ground, text)
        )
        assert ground < 60 and text > 200 and q.strip() == DARK[COLORS["q"]]
        assert canvas.evaluate("c => c.toDataURL()") != light

    @every_figure
    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_axe_finds_nothing(self, opened, name, theme):
        from axe_playwright_python.sync_playwright import Axe

        page = opened(name)
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        for folded in page.locator(".vae-more > summary").all():
            folded.click()
        options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"], "preload": False}
        found = Axe().run(page, context=".vae-live", options=options).response["violations"]
        assert {rule["id"]: [node["html"] for node in rule["nodes"]] for rule in found} == {}


class TestPython:
    @every_figure
    def test_it_shows_itself_the_same_each_time(self, figures, name):
        figure = figures[name]
        bundle = figure._repr_mimebundle_()
        assert set(bundle) == {"text/html", "text/plain"} and bundle["text/html"] == figure.html
        assert len(figure.html.encode()) <= 500_000
        assert re.search(r'alt="[A-Z][^"]{40,}\."', figure.html)
        assert not re.search(r"https?://(?!www\.w3\.org/(2000/svg|1999/xlink))", figure.html)

    def test_the_numbers_are_json_that_cannot_end_the_script(self, figures):
        figure = LiveFigure("line", "d", {"text": "</script>"}, "")
        inside = figure.html.split('<script type="application/json">')[1].split("</script>")[0]
        assert json.loads(inside)["text"] == "</script>"

    def test_a_decoder_too_large_for_a_page_is_refused_with_its_size(self, gen, test_digits):
        large = VAE.mlp(2, (300,), "bernoulli", generator=gen(0))
        with pytest.raises(
            ValueError, match=r"at most 500,000 bytes, got 1,\d\d\d,\d\d\d: the networks"
        ):
            draw_a_digit(large, test_digits[0][:1], [0])

    @pytest.mark.parametrize(
        "settings",
        [{"latent": 3}, {"likelihood": "gaussian"}, {"hidden": (50, 50)}],
        ids=lambda settings: next(iter(settings)),
    )
    @pytest.mark.parametrize(
        "make", [draw_a_digit, explore_latent_plane], ids=lambda make: make.__name__
    )
    def test_a_model_that_the_scripts_cannot_run_is_refused(self, gen, make, settings, test_digits):
        usual = {"latent": 2, "hidden": (20,), "likelihood": "bernoulli", "generator": gen(0)}
        other = VAE.mlp(**usual | settings)
        with pytest.raises(
            ValueError,
            match="expected a Bernoulli VAE with 2 latent dimensions and one hidden layer",
        ):
            make(other, test_digits[0][:2], torch.tensor([0, 1]))

    def test_weights_beyond_half_precision_are_refused(self, gen, test_digits):
        other = VAE.mlp(2, (5,), "bernoulli", generator=gen(0))
        torch.nn.init.constant_(other.decoder[0].weight, 1e6)
        with pytest.raises(ValueError, match="half precision"):
            draw_a_digit(other, test_digits[0][:1], [0])

    def test_other_weights_are_rounded_and_the_page_says_what_python_says(
        self, gen, test_digits, opened, figures
    ):
        other = VAE.mlp(2, (30,), "bernoulli", generator=gen(3))
        figures["other"] = draw_a_digit(other, test_digits[0][:1], [0])
        page = opened("other")
        rounded = VAE.mlp(2, (30,), "bernoulli", generator=gen(0)).double()
        rounded.load_state_dict({k: v.half().double() for k, v in other.state_dict().items()})
        agrees(page, rounded, test_digits[0][:1])

    def test_grey_or_unlabelled_digits_are_refused(self, model, test_digits):
        with pytest.raises(ValueError, match="binarize"):
            draw_a_digit(model, 0.5 * test_digits[0][:1], [0])
        with pytest.raises(ValueError, match="a label each, got 2 and 1"):
            draw_a_digit(model, test_digits[0][:2], [0])
        with pytest.raises(ValueError, match="at least one"):
            draw_a_digit(model, test_digits[0][:0], [])

    def test_move_q_wants_one_dimension_and_one_datum(self, linear):
        thin, x = linear
        with pytest.raises(ValueError, match="Z = 1 and one datum, got Z = 1 and 2"):
            move_q(thin, x.expand(2, -1))
