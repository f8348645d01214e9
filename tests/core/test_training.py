"""Training raises the ELBO, records what it saw, and stops before it spoils anything."""

import io
import math
import os
import subprocess
import sys

import pytest
import torch
from helpers import Interrupt, assert_same, black_or_white, run, small

from vae_core import (
    History,
    Settings,
    binarize,
    elbo,
    fit,
    load_checkpoint,
    load_digits,
    processes,
    training,
)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("decoder", "transform"), [("bernoulli", binarize), ("gaussian", None)])
def test_elbo_rises(seed, decoder, transform, gen, digits):
    model = small(gen, seed, decoder)
    history = fit(model, digits[:500], Settings(epochs=8), digits[500:600], transform, gen(seed))
    for values in (history.train_elbo, history.validation_elbo):
        assert len(values) == 9 and all(map(math.isfinite, values))
        assert values[-1] > values[1] > values[0]
    assert history.epochs == 8


def test_history_subtracts_the_kl():
    history = History([-5.0, -3.0], [1.0, 0.5], [-7.0, -6.0], [2.0, 4.0])
    assert (history.epochs, history.train_elbo, history.validation_elbo) == (
        1,
        [-6, -3.5],
        [-9, -10],
    )
    assert (History().epochs, History().train_elbo) == (0, [])


def test_history_holds_the_means_over_images_of_each_part(gen, digits):
    """With a decoder that ignores z and steps too small to matter, both terms are known."""
    model = small(gen)
    bias = torch.linspace(-1, 2, 784)
    with torch.no_grad():
        model.decoder[0].weight.zero_()
        model.decoder[2].weight.zero_()
        model.decoder[2].bias.copy_(bias)
    parts = {"train": digits[:150] * 0.9, "validation": digits[-50:]}
    _, history = run(
        gen,
        parts["train"],
        2,
        model,
        learning_rate=1e-30,
        validation=parts["validation"],
        transform=black_or_white,
    )
    for name, images in parts.items():
        x = black_or_white(images, None)
        reconstruction = (
            torch.distributions.Bernoulli(logits=bias.double())
            .log_prob(x.double())
            .sum(-1)
            .mean()
            .item()
        )
        mean, log_var = model.encoder[:-1](x).double().chunk(2, dim=-1)
        q, prior = (
            torch.distributions.Normal(mean, log_var.exp().sqrt()),
            torch.distributions.Normal(0.0, 1.0),
        )
        kl = torch.distributions.kl_divergence(q, prior).sum(-1).mean().item()
        assert getattr(history, f"{name}_reconstruction") == pytest.approx(
            [reconstruction] * 3, rel=1e-5
        )
        assert getattr(history, f"{name}_kl") == pytest.approx([kl] * 3, rel=1e-5)


def test_history_without_validation_and_without_epochs(gen, digits):
    model = small(gen)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    _, history = run(gen, digits, 0, model, validation=None)
    assert (
        history.epochs,
        len(history.train_kl),
        history.validation_kl,
        history.validation_elbo,
    ) == (0, 1, [], [])
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_first_step_is_adams_uphill_in_every_weight(gen, digits):
    """Adam's first step moves each weight by the learning rate in the sign of its gradient."""
    model, x = small(gen).double(), black_or_white(digits[:50], None).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    many = elbo(model, x, 300, gen(9)).elbo.mean()  # other noise than that of the step
    uphill = torch.autograd.grad(many, list(model.parameters()))
    fit(model, x, Settings(epochs=1, batch_size=50, learning_rate=1e-3), generator=gen(0))
    for parameter, start, slope in zip(model.parameters(), before, uphill):
        step, clear = parameter.detach() - start, slope.abs() > slope.abs().max() / 4
        assert torch.allclose(step[clear].abs(), torch.tensor(1e-3).double(), rtol=1e-3)
        assert (step[clear].sign() == slope[clear].sign()).double().mean() > 0.8
        # Adam hides a factor: the mean over images, not the sum
        assert 0.2 < parameter.grad.norm() / slope.norm() < 5


def test_same_generator_same_run_and_other_generator_other_run(gen, digits):
    first, second, third = (run(gen, digits, 2, seed=seed) for seed in (1, 1, 2))
    assert_same(first, second)
    assert first[1] != third[1] and first[1].validation_kl[0] == third[1].validation_kl[0]
    model, state = small(gen), torch.get_rng_state()
    fit(model, digits[:100], Settings(epochs=1), transform=binarize, generator=gen(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_the_run_follows_the_global_seed(gen, digits):
    models, histories = [small(gen) for _ in range(3)], []
    with torch.random.fork_rng():
        for model, seed in zip(models, (5, 5, 6)):
            torch.manual_seed(seed)
            histories.append(fit(model, digits[:100], Settings(epochs=1), transform=binarize))
    assert histories[0] == histories[1] != histories[2]


def test_nan_stops_the_run_and_keeps_the_checkpoint(gen, digits, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    good = run(gen, digits, 2, checkpoint=path)

    def poisoned(*arguments, **settings):
        terms = elbo(*arguments, **settings)
        spoilt = float("nan") if torch.is_grad_enabled() else 1.0  # in training alone
        return terms._replace(reconstruction=terms.reconstruction * spoilt)

    monkeypatch.setattr(training, "elbo", poisoned)
    with pytest.raises(FloatingPointError, match=r"at step 0 of epoch 3.*nan"):
        run(gen, digits, 4, checkpoint=path)
    assert_same(load_checkpoint(path), good)


@pytest.mark.parametrize(("decoder", "transform"), [("bernoulli", binarize), ("gaussian", None)])
@pytest.mark.parametrize("batch_size", [64, 200])
@pytest.mark.parametrize("learning_rate", [1e3, 1e30])
def test_diverging_run_stops_before_it_spoils_its_checkpoint(
    decoder, transform, batch_size, learning_rate, gen, digits, tmp_path
):
    path = tmp_path / "run.pt"
    settings = {
        "batch_size": batch_size,
        "transform": transform,
        "validation": None,
        "checkpoint": path,
    }
    with pytest.raises(FloatingPointError, match="learning_rate"):
        run(gen, digits, 3, small(gen, 0, decoder), learning_rate=learning_rate, **settings)
    if path.exists():
        assert (
            elbo(load_checkpoint(path)[0], black_or_white(digits[:9], None)).elbo.isfinite().all()
        )


BAD = {
    "NaN": (lambda x: {"images": x * float("nan")}, "nan"),
    "levels": (lambda x: {"images": x * 255}, r"\[0, 1\].*255"),
    "other pixels": (lambda x: {"images": x[:, 1:]}, r"\[N, 784\].*783"),
    "no images": (lambda x: {"images": x[:0]}, "0, 784"),
    "bad validation": (lambda x: {"validation": x[:5, 1:]}, "783"),
    "more validation than data": (lambda x: {"validation": torch.cat([x, x])}, r"\[200, 100\]"),
    "grey pixels": (lambda x: {"transform": None}, "grey"),
    "grey validation": (
        lambda x: {"images": x.round(), "validation": x[:5], "transform": None},
        "grey",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_runs_are_refused_before_any_step(what, gen, digits):
    spoil, came = BAD[what]
    model = small(gen)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"expected.*{came}"):
        fit(
            model,
            **{"images": digits[:100], "settings": Settings(epochs=1), "transform": binarize}
            | spoil(digits[:100]),
        )
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_missing_folder_of_the_checkpoint_is_told_before_any_step(gen, digits, tmp_path):
    transform = Interrupt(0, binarize)
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere"):
        run(gen, digits, 1, transform=transform, checkpoint=tmp_path / "nowhere" / "run.pt")
    assert transform.calls == 0


def test_silent_when_not_on_a_terminal(gen, digits, capfd):
    run(gen, digits, 2)
    run(gen, digits, 2, progress=False)
    assert capfd.readouterr() == ("", "")


def test_progress_bar_when_asked_or_on_a_terminal(gen, digits, capfd, monkeypatch):
    run(gen, digits, 2, progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "2/2" in err and "epoch" in err and "validation ELBO" in err
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    run(gen, digits, 2, validation=None)
    assert "2/2" in terminal.getvalue() and "train ELBO" in terminal.getvalue()


def test_schedule_reaches_the_optimizer(gen, digits, monkeypatch):
    seen = []
    step = torch.optim.Adam.step

    def counting(self, *rest):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", counting)
    run(gen, digits, epochs=2, learning_rate=1e-3, schedule="cosine")  # 4 steps an epoch
    assert seen == pytest.approx(
        [Settings(learning_rate=1e-3, schedule="cosine").rate(s / 8) for s in range(8)]
    )


def test_importance_weighted_bound_is_trained_from_its_share_on(gen, digits, monkeypatch):
    seen = []
    bound = training.importance_elbo

    def counting(model, x, samples, *rest):
        seen.append(samples)
        return bound(model, x, samples, *rest)

    monkeypatch.setattr(training, "importance_elbo", counting)
    _, history = run(gen, digits, epochs=4, samples=3, importance_from=0.5)
    assert seen == [3] * 8 and history.epochs == 4  # the last two epochs, four batches each
    _, history = run(gen, digits, epochs=1, samples=3)
    assert len(seen) == 12


WORKER = """
import os, sys
import torch
import torch.distributed as dist
from vae_core import VAE, Settings, binarize, fit, load_digits

path, dies = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo")
calls = 0

def transform(batch, generator):
    global calls
    calls += 1
    if dist.get_rank() == 1 and calls == dies:
        os._exit(3)  # as if the machine were gone
    return binarize(batch, generator)

images = load_digits("train").images[:202]
model = VAE.mlp(2, (16,), "bernoulli", generator=torch.Generator().manual_seed(0))
settings = Settings(epochs=3, batch_size=64, samples=2, importance_from=0.5)
how = {"generator": torch.Generator().manual_seed(1), "checkpoint": path}
fit(model, images, settings, transform=transform, **how)
dist.destroy_process_group()
"""


def torchrun(script, *arguments, processes=2):
    """Run a script in several processes on this machine."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        script,
        *arguments,
    ]
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.slow
def test_two_processes_give_what_one_gives_and_go_on_after_a_death(gen, tmp_path):
    images = load_digits("train").images[:202]
    alone = small(gen)
    settings = Settings(epochs=3, batch_size=64, samples=2, importance_from=0.5)
    history = fit(alone, images, settings, transform=binarize, generator=gen(1))
    script, path = tmp_path / "worker.py", tmp_path / "run.pt"
    script.write_text(WORKER)

    # in the second epoch: one measurement, four batches, a probe, then three more
    died = torchrun(script, path, 9)
    assert died.returncode != 0, died.stderr[-2000:]
    assert load_checkpoint(path)[1].epochs == 1
    done = torchrun(script, path, 0)
    assert done.returncode == 0, done.stderr[-2000:]
    shared, other = load_checkpoint(path)
    for ours, theirs in zip(alone.parameters(), shared.parameters()):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert other.train_elbo == pytest.approx(history.train_elbo, abs=1e-3) and other.epochs == 3


def test_every_process_needs_an_image_of_every_batch(gen, digits, monkeypatch):
    monkeypatch.setattr(processes, "place", lambda: (0, 3))
    with pytest.raises(ValueError, match="each of 3 processes, got 2"):
        fit(small(gen), digits[:66], Settings(epochs=1, batch_size=64), transform=binarize)


def test_images_that_do_not_suit_a_continued_run_are_named(gen, digits, tmp_path):
    run(gen, digits, 1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="grey ones: see binarize"):
        run(gen, digits, 2, checkpoint=tmp_path / "run.pt", transform=None)


@pytest.mark.parametrize("samples", [1, 3])
def test_bfloat16_products_train_the_same_model_a_little_less_exactly(
    samples, gen, digits, tmp_path
):
    _model, history = run(gen, digits, samples=samples)
    other, less_exact = run(
        gen, digits, samples=samples, precision="bfloat16", checkpoint=tmp_path / "run.pt"
    )
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert less_exact.train_elbo != history.train_elbo
    assert less_exact.train_elbo == pytest.approx(history.train_elbo, rel=0.01)
    with pytest.raises(ValueError, match="precision: 'bfloat16' there"):
        run(gen, digits, samples=samples, checkpoint=tmp_path / "run.pt")


def test_beta_weighs_the_second_term_of_the_gradient(gen, digits):
    """One step of Adam from the same weights: the gradient is that of reconstruction − β KL."""
    model, reference = small(gen), small(gen)
    fit(
        model,
        digits[:50],
        Settings(epochs=1, batch_size=50, beta=0.25),
        transform=binarize,
        generator=gen(1),
    )
    source = gen(1)
    order = torch.randperm(50, generator=source)  # what fit draws, in its order
    x = binarize(digits[:50][order], source)
    noise = torch.randn(1, 50, reference.latent, generator=source)
    optimizer = torch.optim.Adam(reference.parameters(), lr=1e-3)
    terms = elbo(reference, x, noise=noise)
    (-(terms.reconstruction - 0.25 * terms.kl).mean()).backward()
    optimizer.step()
    for a, b in zip(model.parameters(), reference.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_large_beta_makes_codes_cheap_and_a_small_one_dear(gen, digits):
    kl = {
        beta: run(gen, digits, epochs=12, beta=beta)[1].validation_kl[-1]
        for beta in (0.1, 1.0, 10.0)
    }
    assert kl[0.1] > 1.2 * kl[1.0] > 1.2 * 1.2 * kl[10.0]
    assert_same(run(gen, digits), run(gen, digits, beta=1))
