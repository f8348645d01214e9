"""Figures show the numbers they are given, and draw without a warning."""

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import drawing
from drawing.style import CLASSES, COLORS, DARK, INK, OTHERS, PAPER, WIDTH
from live import stills
from vae_core import VAE, Decomposition, History

ELLIPSE = np.stack([np.cos(np.linspace(0, 6, 60)), np.sin(np.linspace(0, 6, 60))], 1)
BOOK = Path(__file__).resolve().parents[2] / "book"


@pytest.fixture(autouse=True)
def settings_of_the_book():
    with mpl.rc_context(fname=BOOK / "matplotlibrc"):
        yield


def drawn(figure):
    """The figure, after all of it was drawn: bad mathematics or missing glyphs show here alone."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    assert len(file.getvalue()) > 1000
    return figure


def texts(figure):
    return " ".join(text.get_text() for ax in figure.axes for text in ax.texts)


def example():
    figure, ax = plt.subplots()
    ax.plot([1, 2], color=COLORS["q"], label="a line")
    ax.bar([0, 1], [1, 2], facecolor=COLORS["kl_prior"], edgecolor=COLORS["posterior"], hatch="//")
    ax.text(0, 1, "black", color="black")
    ax.set(xlabel="$z_1$", title="title")
    ax.legend()
    return figure


def test_a_figure_is_the_same_text_at_each_run():
    one, two = drawing.to_svg(example()), drawing.to_svg(example())
    assert one == two and one.startswith("<svg")
    assert "<text" not in one and "metadata" not in one
    assert not re.search(r"https?://(?!www\.w3\.org/(2000/svg|1999/xlink))", one)


def test_a_figure_carries_both_schemes():
    svg = drawing.to_svg(example())
    ET.fromstring(svg)
    rule = re.search(r"@media \(prefers-color-scheme:dark\)\{svg\{(.*?)\}\}", svg)[1]
    for color in (INK, COLORS["q"], COLORS["kl_prior"], COLORS["posterior"]):
        name = f"--{color[1:]}"
        assert f"var({name},{color})" in svg and f"{name}:{DARK[color]};" in rule
    assert f"fill:{DARK[INK]};" in rule  # what is black names no colour
    bare = re.findall(r": #[0-9a-f]{6}|fill=\"#", svg)
    assert not bare, f"colours without a dark twin: {bare}"
    ground = re.findall(r'<g id="patch_[12]">.*?style="(.*?)"', svg, re.S)
    assert ground == ["fill: none"] * 2


def test_ink_is_the_colour_of_all_that_is_written():
    keys = [f"{name}.color" for name in ("text", "xtick", "ytick")]
    keys += [f"axes.{name}color" for name in ("label", "edge", "title")]
    assert {to_hex(mpl.rcParams[key]) for key in keys} == {INK}
    cycle = [to_hex(c) for c in mpl.rcParams["axes.prop_cycle"].by_key()["color"]]
    assert cycle == [*OTHERS, INK]


def contrast(color, ground):
    """The contrast of two colours, from 1 to 21, as the guidelines for web pages define it."""

    def light(c):
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(c)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((light(color), light(ground)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", [*COLORS.values(), *OTHERS])
def test_every_colour_is_seen_on_both_grounds(color):
    assert contrast(color, PAPER) >= 3 and contrast(DARK[color], DARK[PAPER]) >= 3


def test_no_two_meanings_share_a_colour():
    for colors in ([*COLORS.values(), *OTHERS], [DARK[c] for c in (*COLORS.values(), *OTHERS)]):
        assert len(set(colors)) == len(colors)


@pytest.mark.slow
def test_a_notebook_that_imports_drawing_shows_its_figures_as_svg_alone():
    import nbformat
    from nbclient import NotebookClient

    draw = "figure = plt.figure(); text = figure.text(0, 0, 'x')"
    cells = ["import matplotlib.pyplot as plt\nimport drawing", draw, draw, "1"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(
        book, kernel_name="python3", resources={"metadata": {"path": str(BOOK)}}
    ).execute()
    shown = [[set(output.data) for output in cell.outputs] for cell in book.cells]
    figure = {"image/svg+xml", "text/plain"}
    assert shown == [[], [figure], [figure], [{"text/plain"}]]
    one, two = (cell.outputs[0].data["image/svg+xml"] for cell in book.cells[1:3])
    assert one == two and f"--{INK[1:]}:" in one


def test_show_images_is_one_picture_on_one_grey_scale(digits):
    rows = [digits[:3], digits[3:6] * 0.5]
    figure = drawn(drawing.show_images(rows, ["data", "half"], ["a", "b", "c"]))
    (ax,) = figure.axes
    (shown,) = ax.images
    picture = shown.get_array().filled(np.nan)
    assert shown.get_clim() == (0, 1) and shown.get_interpolation() == "none"
    height = len(picture)
    first = height - 28 - np.isfinite(picture[::-1, 0])[28:].argmax() - 28  # below labels, titles
    for top, row in ((first, rows[0]), (height - 28, rows[1])):
        for column, image in enumerate(row):
            left = 30 * column
            there = picture[top : top + 28, left : left + 28]
            assert np.array_equal(there, image.reshape(28, 28))
    assert np.isfinite(picture).sum() == 6 * 784  # the ground of the rest is the page's
    assert [text.get_text() for text in ax.texts] == ["data", "half", "a", "b", "c"]
    assert drawing.to_svg(figure).count("<image") == 1


def test_many_images_are_no_wider_than_a_page_and_few_no_larger_than_asked(digits):
    many = drawing.show_images([digits[:20]], ["data"])
    few = drawing.show_images([digits[:2]], ["data"], height=0.5)
    assert many.get_figwidth() == WIDTH and few.get_figwidth() == pytest.approx(58 * 0.5 / 28)


@pytest.mark.parametrize(("sizes", "labels"), [((3, 2), ["a", "b"]), ((3, 3), ["a"]), ((), [])])
def test_show_images_refuses_rows_that_do_not_match(sizes, labels, digits):
    with pytest.raises(ValueError, match="expected rows of one length"):
        drawing.show_images([digits[:n] for n in sizes], labels)


def test_the_derivation_names_its_parts():
    derivation = drawn(drawing.draw_derivation())
    told = texts(derivation)
    for why in ("does not depend on $z$", "Bayes' rule", "multiply by one", "rules of logarithms"):
        assert why in told
    colors = {text.get_text(): text.get_color() for text in derivation.axes[0].texts}
    for name, question in (
        ("reconstruction", "does the decoder make this image?"),
        ("kl_prior", "how far is $q$ from the prior?"),
        ("kl_posterior", "how far is $q$ from the true posterior?"),
    ):
        assert colors[drawing.LABELS[name]] == colors[question] == COLORS[name]


def test_the_gradient_stops_at_the_draw_before_the_trick_and_passes_after_it():
    (ax,) = drawn(drawing.draw_reparameterization()).axes
    told = [text.get_text() for text in ax.texts]
    parts = (r"$z\sim q$", r"$z=\mu+\sigma\odot\epsilon$", "cut", "×", "static")
    assert all(told.count(part) == 1 for part in parts) and told.count("random") == 2
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    red = [arrow for arrow in arrows if to_hex(arrow.get_edgecolor()) == COLORS["gradient"]]
    ways = [arrow._posA_posB for arrow in red]  # start and end
    left = [way for way in ways if way[0][0] < WIDTH / 2]
    assert len(left) == 2 and len(ways) == 6  # to the draw; to the encoder
    assert all(end[1] > start[1] for start, end in ways)  # upwards


def test_pipeline_shows_what_the_model_gives(gen, digits):
    model, x = VAE.mlp(3, (8,), generator=gen(0)).requires_grad_(False), digits[5:6]
    figure = drawn(drawing.draw_pipeline(model, x, gen(1)))
    assert {"encoder\n$\\phi$", "decoder\n$\\theta$"} <= {
        t.get_text() for t in figure.axes[0].texts
    }
    generator = gen(1)
    q = model.encode(x)
    z = q.mean + q.stddev * torch.randn(1, 3, generator=generator)
    p = model.decode(z)
    sample = (255 * (p.loc + p.scale * torch.randn(1, 784, generator=generator))).round().clamp(
        0, 255
    ) / 255
    bars = [
        [bar.get_height() for bar in ax.patches]
        for ax in figure.axes[0].child_axes
        if ax.containers
    ]
    assert np.allclose(bars, torch.cat([q.mean, q.stddev, z]), atol=1e-6)
    images = [ax.images[0].get_array().reshape(-1) for ax in figure.axes[0].child_axes if ax.images]
    assert np.allclose(images, torch.cat([x, sample, p.loc, p.scale]), atol=1e-6)


@pytest.mark.parametrize(("pixels", "decoder"), [(783, "gaussian"), (784, "bernoulli")])
def test_pipeline_refuses_other_images_and_decoders(pixels, decoder, gen):
    with pytest.raises(ValueError, match="expected"):
        drawing.draw_pipeline(VAE.mlp(2, (8,), decoder, generator=gen(0)), torch.zeros(1, pixels))


@pytest.mark.parametrize("validated", [True, False])
def test_history_is_drawn_by_epoch(validated):
    history = History(
        [-9.0, -5.0, -3.0],
        [0.0, 1.0, 2.0],
        *([[-9.0, -6.0, -4.0], [0.0, 1.5, 2.5]] if validated else []),
    )
    figure = drawn(drawing.plot_history(history))
    expected = [  # first epoch and values; the KL from before training on
        [(1, [-5, -3]), (1, [-6, -4])],
        [(0, [0, 1, 2]), (0, [0, 1.5, 2.5])],
        [(1, [-6, -5]), (1, [-7.5, -6.5])],
    ]
    for ax, lines in zip(figure.axes, expected):
        drawn_lines = [
            (int(line.get_xdata()[0]), list(line.get_ydata()))
            for line in ax.lines
            if len(line.get_xdata())
        ]
        assert drawn_lines == lines[: 2 if validated else 1]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == (["train", "validation"] if validated else ["train"])


def test_posteriors_on_a_line_show_both_densities(digits):
    line = torch.linspace(-5, 5, 501)
    posterior = torch.stack(
        [torch.distributions.Normal(m, 0.3).log_prob(line).exp() for m in (-1.0, 2.0)]
    )
    guess = torch.stack(
        [torch.distributions.Normal(m, 0.2).log_prob(line).exp() for m in (-1.0, 0.0)]
    )
    figure = drawn(
        drawing.plot_posteriors_on_line(digits[:2], ["near", "far"], line, posterior, guess)
    )
    for column, ax in enumerate(figure.axes[1::2]):
        assert np.allclose(ax.lines[0].get_ydata(), guess[column])
        assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(
            posterior[column].max().item()
        )
        low, high = ax.get_xlim()
        assert low < -1 - 0.5 * (1 - column) and high > (-1, 2)[column] + 0.6 and high - low < 9


def test_gap_split_stacks_sharing_on_family():
    figure = drawn(drawing.plot_gap_split(["a", "b"], [1.0, 2.0], [3.0, 0.5]))
    bars = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].patches]
    assert bars == [(0, 1.0), (0, 2.0), (1.0, 3.0), (2.0, 0.5)]
    assert texts(figure) == "a b"


def test_gap_split_shows_the_error_of_each_part_where_it_ends():
    figure = drawn(drawing.plot_gap_split(["a"], [1.0], [3.0], [0.25], [0.5]))
    ends = [line.get_segments()[0][:, 0].tolist() for line in figure.axes[0].collections]
    assert ends == [[0.75, 1.25], [3.5, 4.5]]


def test_density_trap_climbs_without_limit_and_the_probability_stays_below_0():
    std = torch.tensor([1.0, 0.1, 0.001])
    figure = drawn(drawing.plot_density_trap(std, torch.tensor([-0.9, 1.4, 6.0]), -std))
    (ax,) = figure.axes
    assert ax.lines[0].get_ydata()[-1] == 6 and max(ax.lines[1].get_ydata()) <= 0
    assert ax.xaxis_inverted() and ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_latent_plane_shows_every_code_and_the_prior():
    codes = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 10
    (ax,) = drawn(drawing.plot_latent_plane(codes, labels)).axes
    for digit, points in enumerate(ax.collections):
        assert np.allclose(points.get_offsets(), codes[digit::10])
        assert to_hex(points.get_facecolor()[0]) == CLASSES[digit]
    assert [circle.get_radius() for circle in ax.patches] == [1, 2]
    assert [text.get_text() for text in ax.texts] == [*"0123456789", "1σ", "2σ"]


def test_manifold_is_laid_out_row_by_row():
    images = torch.zeros(9, 784)
    images[5] = 1  # second row, third column
    (shown,) = drawn(drawing.show_manifold(images)).axes[0].images
    expected = np.zeros((84, 84))
    expected[28:56, 56:] = 1
    assert np.array_equal(shown.get_array(), expected)
    with pytest.raises(ValueError, match=r"square.*8"):
        drawing.show_manifold(images[:8])


def test_units_are_ranked_and_coloured():
    figure = drawn(
        drawing.plot_units(torch.tensor([0.1, 3.0, 1.0]), torch.tensor([False, True, True]))
    )
    bars = figure.axes[0].patches
    assert [round(bar.get_height(), 3) for bar in bars] == [3.0, 1.0, 0.1]
    assert bars[0].get_facecolor() == bars[1].get_facecolor() != bars[2].get_facecolor()


def test_likelihoods_are_ranked_and_marked_by_group_and_ours_are_filled():
    figure = drawn(
        drawing.plot_likelihoods(
            ["theirs", "ours", "another"],
            [86.76, 85.1, 84.5],
            ["elbo", "elbo", "bound"],
            [None, 0.5, None],
            [False, True, False],
        )
    )
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == [
        *("84.50", "another", "85.10", "ours", "86.76", "theirs")
    ]
    points = [container.lines[0] for container in ax.containers]
    assert [(x.get_xdata()[0], x.get_marker(), x.get_fillstyle()) for x in points] == [
        (84.5, "s", "none"),
        (85.1, "o", "full"),
        (86.76, "o", "none"),
    ]
    (bar,) = ax.containers[1].lines[2]
    assert np.allclose([end[0] for end in bar.get_segments()[0]], [84.6, 85.6])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["elbo", "bound"]


def test_what_is_lost_has_a_panel_for_each_part_and_bars_of_two_errors():
    lost = {"decoder": {"one": (1.0, 0.5), "two": (2.0, 0.1)}, "encoder": {"one": (0.5, 0.1)}}
    axes = drawn(drawing.plot_lost(lost)).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["decoder", "encoder"]
    assert [[label.get_text() for label in ax.get_yticklabels()] for ax in axes] == [
        ["one", "two"],
        ["one"],
    ]
    (bar,) = axes[0].containers[0].lines[2]
    assert np.allclose([end[0] for end in bar.get_segments()[0]], [0, 2])


def test_the_bound_has_a_line_for_each_model_over_a_logarithmic_axis():
    (ax,) = drawn(
        drawing.plot_by_samples({"one": {1: -90.0, 5000: -86.0}, "two": {1: -89.0, 5000: -85.0}})
    ).axes
    assert ax.get_xscale() == "log"
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines] == [
        ([1, 5000], [-90, -86]),
        ([1, 5000], [-89, -85]),
    ]


def test_classes_get_a_bar_each_with_its_error():
    nll, gap = [(80 + i, 1.0) for i in range(10)], [(i, 0.1) for i in range(10)]
    top, bottom = drawn(drawing.plot_by_class(nll, gap)).axes
    assert [bar.get_height() for bar in top.patches] == list(range(80, 90))
    assert [bar.get_height() for bar in bottom.patches] == list(range(10))
    (errors,) = next(c for c in top.containers if hasattr(c, "has_yerr")).lines[2]
    assert [end[1] for end in errors.get_segments()[3]] == [82, 84]


def test_times_are_drawn_from_zero_beside_what_is_proportional():
    by_images = {5: [1.0, 2.0, 0.5], 60: [11.0, 10.0, 14.0]}
    by_processes = {"small": {1: [4.0, 4.0, 5.0], 2: [3.0, 1.0, 9.0]}}
    left, right = drawn(drawing.plot_scaling(by_images, by_processes)).axes
    points, proportional = left.lines[0], left.lines[-1]
    assert list(points.get_ydata()) == [1, 11] and list(proportional.get_xydata()[-1]) == [60, 11]
    assert list(right.lines[0].get_xydata().ravel()) == [1, 4, 2, 3]
    bars = [bar[:, 1].tolist() for bar in right.collections[0].get_segments()]
    assert bars == [[4, 5], [1, 9]]  # from the least to the most
    assert left.get_ylim()[0] == right.get_ylim()[0] == 0


def test_variances_are_drawn_by_the_constant_and_by_draws_with_their_errors():
    values = torch.tensor([5.0, 1.0, 5.0])
    curves = {"bare": values, "flat": torch.ones(3)}
    (ax,) = drawn(drawing.plot_added_constant(torch.tensor([-1.0, 0.0, 1.0]), curves, 0.0)).axes
    assert [list(line.get_ydata()) for line in ax.lines[:2]] == [[5, 1, 5], [1, 1, 1]]
    assert set(ax.lines[2].get_xdata()) == {0.0} and ax.get_yscale() == "log"
    errors = torch.tensor([0.5, 0.1, 0.5])
    (ax,) = drawn(drawing.plot_variance_by_draws((2, 4, 8), {"bare": (values, errors)})).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "4", "8"]
    (bars,) = ax.containers
    assert list(bars.lines[0].get_ydata()) == [5, 1, 5]
    low, high = zip(*(path.vertices[:, 1] for path in bars.lines[2][0].get_paths()), strict=True)
    assert low == pytest.approx([4.5, 0.9, 4.5]) and high == pytest.approx([5.5, 1.1, 5.5])


def test_signal_to_noise_is_drawn_by_draws_and_latent_size_beside_the_law():
    error = torch.tensor([0.1, 0.1])
    by_latent = {
        2: {"as it is": (torch.tensor([1.0, 0.3]), error), "other": (torch.ones(2), error)},
        10: {"as it is": (torch.tensor([0.9, 0.5]), error)},
    }
    top, bottom = drawn(drawing.plot_signal_to_noise((1, 64), by_latent)).axes
    assert [len(ax.containers) for ax in (top, bottom)] == [2, 1]
    assert list(top.containers[0].lines[0].get_ydata()) == pytest.approx([1, 0.3])
    law = top.lines[-1]
    assert list(law.get_xdata()) == [1, 64] and list(law.get_ydata()) == [1, 0.125]
    assert [ax.get_title() for ax in (top, bottom)] == ["Z = 2", "Z = 10"]


def test_the_ratio_is_drawn_by_epochs_from_zero():
    (ax,) = drawn(drawing.plot_ratio_by_epoch({0: 5.0, 1: 7.0})).axes
    assert ax.lines[0].get_xydata().tolist() == [[0, 5], [1, 7]] and ax.get_ylim()[0] == 0


def test_the_bars_of_a_still_picture_lead_to_log_px():
    terms = Decomposition(*(torch.tensor([value]).double() for value in (-100.0, -97.0, 5.0, 2.0)))
    top, bottom = drawn(stills.still_terms.__wrapped__(terms, 0.5, 0.1)).axes
    first, second, third = bottom.patches
    assert first.get_x() + first.get_width() == -97  # the reconstruction term
    assert second.get_x() + second.get_width() == -102  # less the KL to the prior: the ELBO
    assert third.get_x() == -102 and third.get_x() + third.get_width() == -100  # and on to log p(x)
    assert bottom.lines[0].get_xdata()[0] == -100
    assert [line.get_label() for line in top.lines] == ["prior p(z)", "posterior p(z|x)", "q(z|x)"]


def test_the_still_plane_shows_each_code_in_the_colour_of_its_class():
    means, labels = torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]]), torch.tensor([7, 7, 2])
    plane, *pictures = drawn(
        stills.still_plane.__wrapped__(means, labels, torch.zeros(2), torch.full((784,), 0.5))
    ).axes
    assert plane.lines[0].get_color() == CLASSES[2] and plane.lines[1].get_xydata().tolist() == [
        [0, 1],
        [2, 3],
    ]
    titles = [ax.get_title() for ax in pictures]
    assert titles == ["mean of p(x|z)", "image drawn", "variance"]
    assert pictures[2].images[0].get_clim() == (0, 0.25)


def test_numerals_of_the_still_plane_do_not_overlap_and_a_key_names_the_colours():
    means, labels = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.1, 0.1]]), torch.tensor([4, 9, 8])
    figure = drawn(
        stills.still_plane.__wrapped__(means, labels, torch.zeros(2), torch.full((784,), 0.5))
    )
    places = torch.tensor([text.get_position() for text in figure.axes[0].texts])
    assert torch.pdist(places).min() > 0.6
    (key,) = figure.legends
    assert [text.get_text() for text in key.texts] == ["4", "8", "9"]


@pytest.mark.parametrize(("points", "rate"), [(97, 1e9), (33, 1e8), (10, 1e6)])
def test_no_name_of_a_time_is_crossed_by_the_line_of_the_price(points, rate):
    (ax,) = drawn(drawing.plot_grid_price(points, rate)).axes
    line = ax.transData.transform(ax.lines[0].get_xydata())
    for text in ax.texts:
        frame = text.get_window_extent()
        across = np.linspace(frame.x0, frame.x1, 50)
        heights = np.interp(across, *line.T)
        assert not ((heights > frame.y0) & (heights < frame.y1)).any(), text.get_text()


FOUR = {name: {1: 1.0, 2: 2.0} for name in ("one", "two", "three", "four")}
CURVES = dict.fromkeys(FOUR, torch.tensor([1.0, 2.0]))
PAIR = (torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.1]))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: drawing.plot_signal_to_noise((1, 2), {2: dict.fromkeys(FOUR, PAIR)}),
        lambda: drawing.plot_by_samples(FOUR),
        lambda: drawing.plot_likelihoods(list(FOUR), [1.0] * 4, list(FOUR), [None] * 4, [True] * 4),
        lambda: drawing.plot_scaling({1: [1.0]}, FOUR),
    ],
)
def test_a_series_without_a_style_of_its_own_is_refused_and_not_left_out(draw):
    with pytest.raises(
        ValueError, match=r"expected at most [23] series, got 4: one, two, three, four"
    ):
        draw()


def test_an_image_without_a_name_is_refused_and_not_left_out(digits):
    line = torch.linspace(-1, 1, 5)
    with pytest.raises(ValueError, match="shorter"):
        drawing.plot_posteriors_on_line(
            digits[:3], ["one", "two"], line, torch.ones(3, 5), torch.ones(3, 5)
        )


def test_the_bars_of_the_terms_lead_to_log_px_for_each_q():
    columns = [[-100.0, -100.0], [-97.0, -120.0], [5.0, 6.0], [2.0, 26.0]]
    terms = Decomposition(*torch.tensor(columns).double())
    (ax,) = drawn(drawing.plot_terms(terms, ["good", "bad"])).axes
    bars = [bar for group in ax.containers for bar in group]
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    low = ax.get_xlim()[0]
    assert ends[:3] == [(low, -97), (-97, -102), (-102, -100)]
    assert ends[3:] == [(low, -120), (-120, -126), (-126, -100)]
    assert [list(line.get_xdata()) for line in ax.lines] == [[-100, -100]] * 2
    assert len({bar.get_hatch() for bar in bars}) == 3 and ax.get_xscale() == "linear"
    told = [text.get_text().strip() for text in ax.texts]
    assert told.count("//") == 3  # both first bars, and the axis, say that they are cut
    assert {"good", "−97.00", "− 5.00", "+ 2.00", "bad", "−120.00", "+ 26.00"} <= set(told)


def test_the_equation_of_each_image_is_written_with_its_words(digits):
    terms = Decomposition(*torch.tensor([[-100.0], [-97.0], [5.0], [2.0]]))
    (ax,) = drawn(drawing.show_three_terms(digits[:1], terms)).axes
    told = [" ".join(text.get_text().split()) for text in ax.texts]
    for words in ("reconstruct", "stay near the prior", "what the encoder misses"):
        assert words in told
    assert [t for t in told if re.search(r"\d", t)] == ["−97.00", "5.00", "2.00", "−100.00"]
    assert [t for t in told if t in ("−", "+", "=")] == ["−", "+", "="]
    second, third = (bar.get_width() for group in ax.containers for bar in group)
    assert third / second == pytest.approx(2 / 5)


def grid_of(distribution, low=-6, points=241):
    axes = torch.linspace(low, -low, points).double().expand(2, -1)
    density = distribution.log_prob(torch.cartesian_prod(*axes)).exp()
    return drawing.GridPosterior(axes, density.reshape(points, points))


def test_a_gaussian_posterior_is_drawn_where_its_q_is():
    """The two regions of a Gaussian posterior are the ellipses of 1 and 2 standard deviations."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.8]]).double()
    mean = torch.tensor([0.5, -0.3]).double()
    gaussian = torch.distributions.MultivariateNormal(mean, covariance)
    ax = plt.figure().add_subplot()
    drawing.draw_posterior(ax, grid_of(gaussian))
    lines = ax.collections[-1].get_paths()[::-1]  # the inner one first
    drawing.draw_q(ax, gaussian.expand((1,)))
    for width, path, ellipse in zip((1, 2), lines, ax.patches):
        for points in (path.vertices, ellipse.get_transform().transform(ELLIPSE)):
            if points is not path.vertices:
                points = ax.transData.inverted().transform(points)
            away = torch.from_numpy(np.asarray(points)).double() - mean
            squared = (away @ torch.linalg.inv(covariance) * away).sum(1)
            assert (squared.sqrt() - width).abs().max() < 0.05
        assert ellipse.get_linestyle() != "-" and not ellipse.get_fill()
        assert to_hex(ellipse.get_edgecolor()) == COLORS["q"]
    inner, outer = (ax.collections[0].get_facecolor()[i] for i in (1, 0))
    assert to_hex(inner[:3]) == to_hex(outer[:3]) == COLORS["posterior"] and inner[3] > outer[3]
    with pytest.raises(ValueError, match=r"one image, Z = 2, got \[3, 2\]"):
        drawing.draw_q(ax, gaussian.expand((3,)))


@pytest.mark.parametrize(("count", "columns"), [(2, 2), (3, 3), (4, 2), (5, 2)])
def test_each_image_stands_over_its_posterior_and_its_q(count, columns, digits):
    means = torch.arange(count).double()[:, None].expand(-1, 2) / 4
    normal = torch.distributions.MultivariateNormal
    qs = [normal(mean[None], torch.eye(2).double()) for mean in means]
    posteriors = [grid_of(normal(mean, torch.eye(2).double()), points=61) for mean in means]
    names = [f"number {i}" for i in range(count)]
    figure = drawn(drawing.plot_posteriors(digits[:count], posteriors, qs, names))
    for number in range(count):
        row, column = divmod(number, columns)
        image, plane = (figure.axes[(2 * row + i) * columns + column] for i in (0, 1))
        assert image.get_title() == f"number {number}"
        assert np.array_equal(image.images[0].get_array().ravel(), digits[number])
        assert [patch.get_center()[0] for patch in plane.patches] == [number / 4] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "p(z|x), 1σ and 2σ",
        "q(z|x), 1σ and 2σ",
    ]
    with pytest.raises(ValueError, match="longer"):
        drawing.plot_posteriors(digits[:1], posteriors, qs, names)
