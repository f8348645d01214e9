"""Each planted slip: one line, found by its check alone, its symptom there and gone when mended."""

import ast
import copy
import difflib
import json
import math
from functools import cache
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch

import drawing
from deeper import broken, plain
from deeper.checks import CHECKS, subject
from vae_core import (
    VAE,
    GaussianHead,
    ImageHead,
    StandardNormal,
    binarize,
    decompose_on_grid,
    elbo,
    load_digits,
    log_joint,
)

ROOT = Path(__file__).resolve().parents[2]
FOUND_BY = {  # case → the checks that it fails
    0: set(),
    1: {"first_pulls_at_encoder"},
    2: {"draws_are_of_q"},
    3: {"pixels_can_be_black"},
    4: {"no_test_digit_in_training"},
    5: {"first_is_torchs"},
    6: {"draws_are_of_q"},
    7: {"second_is_torchs"},
    8: {"loss_is_minus_elbo"},
    9: {"second_is_torchs"},
}
RECORD = json.loads((ROOT / "benchmarks" / "broken.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", FOUND_BY)
def test_a_slip_is_found_by_its_check_alone(case):
    found = {check.__name__ for check in CHECKS if not check(subject(broken.plant(case)))}
    assert found == FOUND_BY[case]


@pytest.mark.parametrize("case", FOUND_BY)
def test_a_check_does_not_depend_on_the_first_weights(case):
    code = broken.plant(case)
    for seed in range(20):
        torch.manual_seed(seed)
        found = {check.__name__ for check in CHECKS if not check(subject(code))}
        assert found == FOUND_BY[case]


def with_line(sound, faulty):
    """The module `deeper.plain` with one line changed, as `broken.plant` does it."""
    text = Path(plain.__file__).read_text(encoding="utf-8")
    assert text.count(sound) == 1
    module = ModuleType("further")
    exec(compile(text.replace(sound, faulty), "<further>", "exec"), module.__dict__)
    return module


KL = "0.5 * (mean**2 + log_var.exp() - log_var - 1).sum(1)"
STD, DRAW = "(0.5 * log_var).exp()", "return mean + std * noise"
FURTHER = {  # the sound text, the faulty one, and a check that it fails
    "the KL's sign in its own formula": (KL, f"-{KL}", "second_is_torchs"),
    "mean over the numbers of a code": (KL, KL.replace("sum", "mean"), "second_is_torchs"),
    "σ for σ² in the KL": (KL, KL.replace("log_var.exp()", STD), "second_is_torchs"),
    "log σ² for σ² in the KL": (KL, KL.replace("log_var.exp()", "log_var"), "second_is_torchs"),
    "the sign of log σ²": (KL, KL.replace("- log_var", "+ log_var"), "second_is_torchs"),
    "a sum over the batch in the KL": (KL, KL.replace("sum(1)", "sum()"), "second_is_torchs"),
    "half of log σ² without exp": (STD, "0.5 * log_var", "draws_are_of_q"),
    "a hundredth of the noise": (DRAW, "return mean + 0.01 * std * noise", "draws_are_of_q"),
    "noise that is not scaled": (DRAW, "return mean + noise", "draws_are_of_q"),
    "no noise": (DRAW, "return mean", "draws_are_of_q"),
    "twice the mean": (DRAW, "return mean + mean + std * noise", "draws_are_of_q"),
    "one noise for all numbers of a code": (
        DRAW,
        "return mean + std * noise[:, :1]",
        "draws_are_of_q",
    ),
    "half of the graph is cut": (
        DRAW,
        "return mean + std.detach() * noise",
        "first_pulls_at_encoder",
    ),
    "the mean is decoded": (
        "self.decode(self.draw(mean, log_var, noise))",
        "self.decode(mean)",
        "first_is_torchs",
    ),
    "the first term's sign": ("-loss.sum(1)", "loss.sum(1)", "first_is_torchs"),
    "a sum over the batch": ("-loss.sum(1)", "-loss.sum()", "first_is_torchs"),
    "a loss summed over the batch": ("second).mean()", "second).sum()", "loss_is_minus_elbo"),
    "a weight of ½": ("(first - second)", "(first - 0.5 * second)", "loss_is_minus_elbo"),
}


@pytest.mark.parametrize("name", FURTHER)
def test_slips_for_which_no_check_was_written_are_found(name):
    sound, faulty, check = FURTHER[name]
    code = with_line(sound, faulty)
    assert check in {each.__name__ for each in CHECKS if not each(subject(code))}


def test_a_kl_with_a_minus_in_its_own_formula_falls_without_end(gen):
    """The sign's slip has two places: here the printed second term goes down, and so does the loss.

    Of the checks only that of the second term sees it.
    """
    code = with_line(KL, f"-{KL}")
    found = {check.__name__ for check in CHECKS if not check(subject(code))}
    assert found == {"second_is_torchs"}
    with torch.random.fork_rng([]):
        first, second = code.train(1, gen(0)).test[-1]
    assert second < -1e3 and -(first - second) < 0


@pytest.mark.parametrize(
    ("sound", "faulty"),
    [
        ("optimizer.zero_grad()", "pass"),
        ("torch.randn(len(x), 2, generator=generator))", "torch.randn(1, 2, generator=generator))"),
        ("x = binarize(grey[rows], generator)", "x = grey[rows]"),
    ],
)
def test_slips_in_the_loop_pass_all_checks(sound, faulty):
    about = subject(with_line(sound, faulty))
    assert all(check(about) for check in CHECKS)


def test_the_sound_code_is_the_whole_vae_of_chapter_3():
    """Same weights, same noise, ten numbers to a code: the same two terms, and the same rate."""
    notebook = nbformat.read(ROOT / "book" / "training_pipeline.ipynb", as_version=4)
    (cell,) = [c.source for c in notebook.cells if "whole-vae" in c.metadata.get("tags", [])]
    chapter = ast.parse(cell)
    names = {"torch": torch}
    only = [node for node in chapter.body if isinstance(node, (ast.ImportFrom, ast.ClassDef))]
    exec(compile(ast.Module(only, []), "<chapter 3>", "exec"), names)
    ours, theirs = plain.PlainVAE(latent=10), names["PlainVAE"]()
    theirs.load_state_dict(ours.state_dict())
    x = binarize(load_digits("test").images[:20], torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    expected = theirs(x)
    torch.manual_seed(5)
    for one, other in zip(ours.terms(x, torch.randn(20, 10)), expected, strict=True):
        assert torch.equal(one, other)
    for line in ("Adam(", "lr=3e-3", ".split(100)", "-(first - second).mean()"):
        assert line in cell and line in Path(plain.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", broken.CASES)
def test_a_case_differs_from_the_sound_code_in_one_line(case, capsys):
    text = Path(plain.__file__).read_text(encoding="utf-8").splitlines()
    slip = broken.CASES[case]
    changed = [slip.faulty if line.strip() == slip.sound else line.strip() for line in text]
    lines = list(difflib.unified_diff([line.strip() for line in text], changed, n=0))[3:]
    assert lines == [f"-{slip.sound}", f"+{slip.faulty}"]
    broken.show(case)
    assert capsys.readouterr().out == f"{slip.name}:\n- {slip.faulty}\n+ {slip.sound}\n"


def test_an_unknown_case_is_refused():
    with pytest.raises(ValueError, match="a case from 0 to 9, got 10"):
        broken.plant(10)


def own(model):
    """The sound model as a `VAE`, and black-and-white test digits."""
    encoder = torch.nn.Sequential(model.encoder, GaussianHead())
    decoder = torch.nn.Sequential(*model.decoder, ImageHead("bernoulli"))
    x = binarize(load_digits("test").images, torch.Generator().manual_seed(1))
    return VAE(encoder, decoder, StandardNormal(2)), x


def test_the_sound_code_has_the_terms_of_the_package(gen):
    model = plain.PlainVAE()
    vae, x = own(model)
    noise = torch.randn(1, 500, 2, generator=gen(0))
    theirs = elbo(vae, x, noise=noise)
    first, second = model.terms(x, noise[0])
    torch.testing.assert_close(first, theirs.reconstruction)
    torch.testing.assert_close(second, theirs.kl)
    torch.testing.assert_close(model.loss(first, second), -theirs.elbo.mean())


def test_the_grid_gives_the_log_likelihood_of_the_package():
    torch.manual_seed(0)
    vae, x = own(plain.PlainVAE().double())
    exact = decompose_on_grid(vae, x[:4], tolerance=1e-3).log_likelihood
    assert (broken._log_likelihood(vae, x[:4].double(), 0.0) - exact).abs().max() < 1e-3


def test_mended_weights_are_those_of_the_case():
    model = broken.plant(6).PlainVAE()
    mended = broken.mend(model)
    assert torch.equal(mended.encoder[0].weight, model.encoder[0].weight.double())
    faulty, right = broken.bound(model, draws=2), broken.bound(mended, draws=2)
    assert next(model.parameters()).dtype == torch.float32  # as it was
    assert (faulty - right).abs().max() > 0.01 and broken.sigma(model) > 0.5


def test_a_run_repeats_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, two = (broken.run(0, 3, 1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.train, two.train) and torch.equal(one.test, two.test)
    assert not torch.equal(broken.run(0, 4, 1).train, one.train)


@cache
def trained(case):
    """A run of a case, what its model is worth, and the standard deviations of its draws."""
    run = broken.run(case, 0, 6)
    size = broken.measure(run.model)
    x = binarize(load_digits("test").images, torch.Generator().manual_seed(1)).double()
    model = copy.deepcopy(run.model).double()
    with torch.no_grad():
        mean, log_var = model.encode(x)
        width = model.draw(0 * mean, log_var, torch.ones_like(mean)).abs().median().item()
        pictures = model.decode(mean).sigmoid()
    return run, size, width, pictures


def overstated(case):
    size = trained(case)[1]
    return (size.claim - size.elbo).mean()


def lost(case):
    return (trained(0)[1].elbo - trained(case)[1].elbo).mean()


SYMPTOMS = {
    1: lambda case: trained(case)[0].test[-1, 1] < 0.01 and trained(case)[3].std(0).max() < 0.1,
    2: lambda case: overstated(case) > 2 and trained(case)[0].test[-1, 1] < 5,
    3: lambda case: trained(case)[3].min() >= 0.5 and trained(case)[0].test[-1, 0] < -500,
    5: lambda case: trained(case)[0].test[-1, 0] > -1 and trained(case)[3].std(0).max() < 0.1,
    6: lambda case: trained(case)[2] < 0.15 and lost(case) > 20,
    7: lambda case: overstated(case) < -2,
    8: lambda case: trained(case)[0].test[-1, 1] > 1e4,
    9: lambda case: overstated(case) > 4,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SYMPTOMS)
def test_a_symptom_is_there_with_the_slip_and_gone_without(case):
    assert SYMPTOMS[case](case)
    assert not SYMPTOMS[case](0)


@pytest.mark.slow
def test_digits_that_were_trained_on_look_better_than_they_should():
    """Case 4: its gap between training and test digits is below the sound one."""
    gaps = {}
    for case in (0, 4):
        run = broken.run(case, 0, 30)
        x = binarize(plain.training_digits()[:4_000], torch.Generator().manual_seed(1)).double()
        noise = torch.randn(len(x), 2, generator=torch.Generator().manual_seed(2)).double()
        with torch.no_grad():
            first, second = broken.mend(run.model).terms(x, noise)
        gaps[case] = (first - second).mean() - broken.measure(run.model).elbo.mean()
    assert gaps[4] < gaps[0] - 0.3


@torch.no_grad()
def by_draws(vae, x, gen, of_q=2_000, of_wide=100_000):
    """log p(x) from codes of q and of N(0, 2² I) together, each weighted by the mixture of both.

    The wide Gaussian is there for digits whose posterior q leaves out in part.
    """
    q, prior, counts = vae.encode(x), vae.prior(), (math.log(of_q), math.log(of_wide))

    def log_wide(z):
        return (-(z**2) / 8).sum(-1) - math.log(8 * math.pi)

    thrown = 2 * torch.randn(of_wide, 2, generator=gen(0))
    log_q = torch.cat([q.log_prob(part[:, None]) for part in thrown.split(10_000)]).T
    mixture = torch.logaddexp(counts[0] + log_q, counts[1] + log_wide(thrown))
    found = (log_joint(vae, x, thrown) - mixture).logsumexp(1)
    z = q.sample((of_q,), generator=gen(1))
    log_p = torch.cat(
        [vae.log_likelihood(a, b) for a, b in zip(x.split(10), z.split(10, 1), strict=True)], 1
    )
    mixture = torch.logaddexp(counts[0] + q.log_prob(z), counts[1] + log_wide(z))
    return torch.logaddexp(found, (log_p + prior.log_prob(z) - mixture).logsumexp(0))


@pytest.mark.slow
def test_the_grid_agrees_with_draws(gen):
    """log p(x) of the grid against weighted codes, and the bound below both."""
    run, size, *_ = trained(0)
    vae, x = own(run.model)
    off = by_draws(vae, x[:100], gen) - size.log_likelihood[:100]
    error = off.std() / 10
    assert error < 0.02 and off.mean().abs() < 4 * error and off.abs().max() < 0.4
    assert (size.finer - size.log_likelihood).abs().max() < 1e-4
    noise = torch.randn(50, len(x), 2, generator=gen(2))
    with torch.no_grad():
        bounds = torch.stack([torch.sub(*run.model.terms(x, part)) for part in noise])
    error = bounds.std(0) / 50**0.5  # of each digit's 50 draws
    assert size.elbo.mean() < size.log_likelihood.mean()
    assert ((size.elbo - size.log_likelihood) / error).max() < 4
    assert torch.equal(size.claim, size.elbo)


@pytest.mark.slow
@pytest.mark.parametrize("case", [2, 6])
def test_an_iwae_bound_by_the_faulty_draw_is_no_bound(case, gen):
    """Codes by the case's own `draw`, weighted with the KL's σ, against codes of the right q.

    Case 6 shows what is lost: its number is far above the right bound, and not above its own.
    """
    run, size, *_ = trained(case)
    vae, x = own(broken.mend(run.model))
    vae, x, noise = vae.double(), x.double(), torch.randn(500, len(x), 2, generator=gen(0))
    above = {}
    with torch.no_grad():
        mean, log_var = vae.encoder[0](x).chunk(2, dim=1)
        q, prior = vae.encode(x), vae.prior()
        for name, model in {"faulty": run.model, "right": broken.mend(run.model)}.items():
            z = model.draw(mean, log_var, noise.double())
            log_p = torch.cat([vae.log_likelihood(x, part) for part in z.split(50)])
            weights = log_p + prior.log_prob(z) - q.log_prob(z)
            above[name] = weights.logsumexp(0) - math.log(len(noise))

    def error(values):
        return values.std() / len(x) ** 0.5

    no_bound = above["faulty"] - size.log_likelihood
    assert no_bound.mean() > 3 * error(no_bound)
    seen = size.claim - above["right"]
    assert seen.mean() > 3 * error(seen)
    if case == 6:
        assert (size.claim - above["faulty"]).mean() < 0 and seen.mean() > 1


def test_the_stored_sizes_are_of_these_cases():
    assert set(RECORD["cases"]) == {str(case) for case in (0, *broken.CASES)}
    assert RECORD["epochs"] == broken.EPOCHS and RECORD["seeds"] == [0, 1, 2]
    assert set(RECORD["long"]) == {"0", "4"} and RECORD["long_epochs"] == 100
    sound = RECORD["cases"]["0"]
    for row in RECORD["cases"].values():
        for name, base in (("lost_elbo", "elbo"), ("lost_log_likelihood", "log_likelihood")):
            difference = sound[base]["mean"] - row[base]["mean"]
            assert math.isclose(row[name]["mean"], difference, rel_tol=1e-3, abs_tol=1e-3)
        assert row["elbo"]["mean"] < row["log_likelihood"]["mean"] < 0
        assert row["grids_apart"] < 0.2


def test_the_page_says_of_the_stored_sizes_what_they_are():
    """Each sentence that quotes the table, with its errors; the names are those of the table."""
    rows = {int(case): row for case, row in RECORD["cases"].items()}

    def value(case, name):
        size = rows[case][name]
        return size["mean"], 3 * math.hypot(size["digits"], size["seeds"])

    for case in (2, 6):  # print more than the sound code, and more than log p(x)
        for name in ("claim_above_sound", "claim_above_log_likelihood", "overstated"):
            mean, error = value(case, name)
            assert mean > error
    assert 20 < value(6, "lost_elbo")[0] < 100  # tens of nats
    for case in (2, 6):  # the decoder is nearly sound, and the rest is the encoder's
        assert abs(value(case, "lost_log_likelihood")[0]) < 3
        assert value(case, "lost_elbo")[0] > value(case, "lost_log_likelihood")[0] + 2
    assert max(rows, key=lambda case: value(case, "claim_above_sound")[0]) == 5
    for case in (4, 7):  # about what the seeds leave open
        assert abs(value(case, "lost_elbo")[0]) < 3 * rows[case]["lost_elbo"]["seeds"]
    mean, error = value(7, "overstated")
    assert mean < -error
    doubled = torch.tensor(rows[7]["test"])[:, 1].mean()
    assert (-mean / doubled - 0.5).abs() < 0.02  # half of what it prints as second term
    assert all(value(case, "overstated") == (0, 0) for case in (0, 1, 4, 8))
    ratio = value(3, "lost_log_likelihood")[0] / value(1, "lost_log_likelihood")[0]
    assert 2.5 < ratio < 3.5  # case 3's decoder has lost three times as much as the average digit
    claim, exact = (rows[5][name]["mean"] for name in ("claim", "log_likelihood"))
    assert claim < exact / 784  # case 5's number is a bound on log p(x)/784
    assert value(3, "lost_elbo")[0] > 200 and value(8, "lost_log_likelihood")[0] > 100
    for case in (1, 5):
        assert max(row[1] for row in rows[case]["test"]) < 0.01
    assert min(rows[9]["sigma"]) > max(rows[0]["sigma"])
    assert value(9, "lost_elbo")[0] > value(9, "lost_elbo")[1]


def test_the_score_of_digits_that_were_trained_on_flatters_more_in_long_runs():
    short, long = (RECORD[part]["4"]["optimism"] for part in ("cases", "long"))
    error = math.hypot(*(part[name] for part in (short, long) for name in ("digits", "seeds")))
    assert long["mean"] - short["mean"] > 3 * error and short["mean"] > 2 * short["digits"]
    gaps = {}
    for case, row in RECORD["long"].items():
        train, test = (torch.tensor(row[part]).diff(dim=1) for part in ("train", "test"))
        gaps[case] = test - train  # first minus second term, training less test digits
    assert gaps["0"].min() > 1 and gaps["4"].max() < 1


@pytest.mark.slow
def test_the_stored_sizes_are_what_the_code_gives():
    run = broken.run(0, 0)
    stored = torch.tensor(RECORD["cases"]["0"]["test"][0])
    assert (run.test[-1] - stored).abs().max() < 0.5


def test_the_figure_of_a_run_has_its_curves_and_pictures():
    curves = torch.arange(6.0).reshape(3, 2)
    run, sound = plain.Run(None, curves, curves + 1), plain.Run(None, curves + 2, curves + 3)
    rows = {"digit": torch.zeros(2, 784), "new": torch.ones(2, 784)}
    figure = drawing.plot_run(run, sound, rows)
    first, second, pictures = figure.axes
    drawn = [line.get_ydata().tolist() for line in first.lines]
    assert drawn == [(curves[1:, 0] + k).tolist() for k in (2, 3, 0, 1)]
    assert first.lines[0].get_xdata().tolist() == [2, 3]
    assert second.lines[-1].get_ydata().tolist() == (curves[1:, 1] + 1).tolist()
    assert [label.get_text() for label in pictures.get_yticklabels()] == ["digit", "new"]
    assert len(drawing.plot_run(run, None, rows).axes[0].lines) == 2
    plt.close("all")
