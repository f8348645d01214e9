"""Training raises the ELBO, records what it saw, and loses no finished epoch."""

import io
import math
import os
import subprocess
import sys

import pytest
import torch

from vae_core import VAE, Cosine, History, binarize, elbo, fit, load_checkpoint, load_digits, training


def black_or_white(images, generator):
    """A transform without noise."""
    return (images > 0.5).to(images.dtype)


def small(gen, seed=0, decoder="bernoulli", latent=2):
    return VAE(latent, (16,), decoder, generator=gen(seed))


def run(gen, digits, epochs=4, model=None, seed=1, **settings):
    """A short training run: its model and its history."""
    model = model or small(gen)
    settings = {"batch_size": 64, "validation": digits[200:260], "transform": binarize} | settings
    return model, fit(model, digits[:200], epochs, generator=gen(seed), **settings)


def assert_same(run, other):
    (model, history), (other_model, other_history) = run, other
    assert history == other_history
    weights, others = model.state_dict(), other_model.state_dict()
    assert weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


class Interrupt:
    """A transform, or whatever else is called, that is interrupted at its n-th call."""

    def __init__(self, call, then, error=KeyboardInterrupt):
        self.calls, self.call, self.then, self.error = 0, call, then, error

    def __call__(self, *arguments, **settings):
        self.calls += 1
        if self.calls == self.call:
            raise self.error
        return self.then(*arguments, **settings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decoder, transform", [("bernoulli", binarize), ("gaussian", None)])
def test_elbo_rises(seed, decoder, transform, gen, digits):
    model = small(gen, seed, decoder)
    history = fit(model, digits[:500], 8, validation=digits[500:600], transform=transform, generator=gen(seed))
    for values in (history.train_elbo, history.validation_elbo):
        assert len(values) == 9 and all(map(math.isfinite, values))
        assert values[-1] > values[1] > values[0]
    assert history.epochs == 8


def test_history_subtracts_the_kl():
    history = History([-5.0, -3.0], [1.0, 0.5], [-7.0, -6.0], [2.0, 4.0])
    assert (history.epochs, history.train_elbo, history.validation_elbo) == (1, [-6, -3.5], [-9, -10])
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
    _, history = run(gen, parts["train"], 2, model, learning_rate=1e-30, validation=parts["validation"], transform=black_or_white)
    for name, images in parts.items():
        x = black_or_white(images, None)
        reconstruction = torch.distributions.Bernoulli(logits=bias.double()).log_prob(x.double()).sum(-1).mean().item()
        mean, log_var = model.encoder(x).double().chunk(2, dim=-1)
        q, prior = torch.distributions.Normal(mean, log_var.exp().sqrt()), torch.distributions.Normal(0.0, 1.0)
        kl = torch.distributions.kl_divergence(q, prior).sum(-1).mean().item()
        assert getattr(history, f"{name}_reconstruction") == pytest.approx([reconstruction] * 3, rel=1e-5)
        assert getattr(history, f"{name}_kl") == pytest.approx([kl] * 3, rel=1e-5)


def test_history_without_validation_and_without_epochs(gen, digits):
    model = small(gen)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    _, history = run(gen, digits, 0, model, validation=None)
    assert (history.epochs, len(history.train_kl), history.validation_kl, history.validation_elbo) == (0, 1, [], [])
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_first_step_is_adams_uphill_in_every_weight(gen, digits):
    """Adam's first step moves each weight by the learning rate in the sign of its gradient."""
    model, x = small(gen).double(), black_or_white(digits[:50], None).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    many = elbo(model, x, 300, gen(9)).elbo.mean()  # other noise than that of the step
    uphill = torch.autograd.grad(many, list(model.parameters()))
    fit(model, x, 1, batch_size=50, learning_rate=1e-3, generator=gen(0))
    for parameter, start, slope in zip(model.parameters(), before, uphill):
        step, clear = parameter.detach() - start, slope.abs() > slope.abs().max() / 4
        assert torch.allclose(step[clear].abs(), torch.tensor(1e-3).double(), rtol=1e-3)
        assert (step[clear].sign() == slope[clear].sign()).double().mean() > 0.8
        assert 0.2 < parameter.grad.norm() / slope.norm() < 5  # Adam hides a factor: the mean over images, not the sum


def test_same_generator_same_run_and_other_generator_other_run(gen, digits):
    first, second, third = (run(gen, digits, 2, seed=seed) for seed in (1, 1, 2))
    assert_same(first, second)
    assert first[1] != third[1] and first[1].validation_kl[0] == third[1].validation_kl[0]
    model, state = small(gen), torch.get_rng_state()
    fit(model, digits[:100], 1, transform=binarize, generator=gen(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_the_run_follows_the_global_seed(gen, digits):
    models, histories = [small(gen) for _ in range(3)], []
    with torch.random.fork_rng():
        for model, seed in zip(models, (5, 5, 6)):
            torch.manual_seed(seed)
            histories.append(fit(model, digits[:100], 1, transform=binarize))
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.parametrize("decoder, transform", [("bernoulli", binarize), ("gaussian", None)])
def test_continued_run_is_the_uninterrupted_one(decoder, transform, gen, digits, tmp_path):
    whole = run(gen, digits, 4, small(gen, 0, decoder), transform=transform)
    path = tmp_path / "run.pt"
    run(gen, digits, 2, small(gen, 0, decoder), transform=transform, checkpoint=path)
    assert_same(run(gen, digits, 4, small(gen, 7, decoder), seed=99, transform=transform, checkpoint=path), whole)
    assert_same(load_checkpoint(path), whole)
    assert_same(run(gen, digits, 4, small(gen, 8, decoder), transform=transform, checkpoint=path), whole)  # nothing to do


@pytest.mark.parametrize("call", [1, 7, 11, 12, 14])  # before, within and between epochs (each has 4 batches and a validation)
def test_interrupted_run_goes_on_as_if_it_had_not_been(call, gen, digits, tmp_path):
    whole = run(gen, digits, 4)
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        run(gen, digits, 4, transform=Interrupt(call, binarize), checkpoint=path)
    assert path.exists() == (call >= 8)
    assert_same(run(gen, digits, 4, checkpoint=path), whole)
    assert os.listdir(tmp_path) == ["run.pt"]


@pytest.mark.parametrize("module, name", [(os, "replace"), (os, "fsync"), (torch, "save")])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left")])
def test_interrupt_while_saving_leaves_the_previous_checkpoint_whole(module, name, error, gen, digits, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    run(gen, digits, 2, checkpoint=path)
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(type(error) if isinstance(error, OSError) else error):
        patch.setattr(module, name, Interrupt(1, getattr(module, name), error))
        run(gen, digits, 4, checkpoint=path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.pt"]
    assert_same(run(gen, digits, 4, checkpoint=path), run(gen, digits, 4))


def test_half_written_checkpoint_is_never_at_its_place(gen, digits, tmp_path, monkeypatch):
    def half(state, file):
        file.write(b"PK half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        run(gen, digits, 1, checkpoint=tmp_path / "run.pt")
    assert os.listdir(tmp_path) == []


OTHER = {
    "latent": lambda gen: {"model": small(gen, latent=3)},
    "decoder": lambda gen: {"model": small(gen, decoder="gaussian")},
    "batch_size": lambda gen: {"batch_size": 32},
    "learning_rate": lambda gen: {"learning_rate": 0.5},
    "validation": lambda gen: {"validation": None},
}


@pytest.mark.parametrize("name", OTHER)
def test_checkpoint_of_another_run_is_refused_by_name(name, gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    run(gen, digits, 1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{path}.*{name}"):
        run(gen, digits, 2, checkpoint=path, **OTHER[name](gen))
    with pytest.raises(ValueError, match=f"{path}.*images: 200 there, 100 here"):
        run(gen, digits[:100], 2, checkpoint=path, validation=digits[200:260])
    assert path.read_bytes() == before


BROKEN = {
    "no bytes": lambda whole: b"",
    "a few bytes": lambda whole: whole[:20],
    "half": lambda whole: whole[: len(whole) // 2],
    "one byte short": lambda whole: whole[:-1],
    "a bit flipped": lambda whole: whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 64]) + whole[len(whole) // 2 + 1 :],
    "text": lambda whole: b"<html>404</html>",
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_checkpoint_is_named(how, gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    run(gen, digits, 1, checkpoint=path)
    path.write_bytes(BROKEN[how](path.read_bytes()))
    for use in (lambda: load_checkpoint(path), lambda: run(gen, digits, 2, checkpoint=path)):
        with pytest.raises(ValueError, match=f"{path}.*checkpoint"):
            use()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"format": "vae_core checkpoint 1", "config": evil}])
def test_checkpoint_cannot_execute_code(wrap, tmp_path):
    path, marker = tmp_path / "evil.pt", tmp_path / "executed"
    torch.save(wrap(Evil(marker)), path)
    with pytest.raises(ValueError, match=f"{path}"):
        load_checkpoint(path)
    assert not marker.exists()


def test_missing_and_foreign_checkpoints_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'none.pt'}"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match=f"{tmp_path / 'foreign.pt'}.*checkpoint"):
        load_checkpoint(tmp_path / "foreign.pt")


def test_checkpoint_keeps_the_dtype(gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    model = small(gen).double()
    done = run(gen, digits.double(), 1, model, validation=None, checkpoint=path)
    assert next(load_checkpoint(path)[0].parameters()).dtype == torch.float64
    assert_same(load_checkpoint(path), done)


def test_nan_stops_the_run_and_keeps_the_checkpoint(gen, digits, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    good = run(gen, digits, 2, checkpoint=path)

    def poisoned(*arguments, **settings):
        terms = elbo(*arguments, **settings)
        return terms._replace(reconstruction=terms.reconstruction * float("nan"))

    monkeypatch.setattr(training, "elbo", poisoned)
    with pytest.raises(FloatingPointError, match="at step 0 of epoch 3.*nan"):
        run(gen, digits, 4, checkpoint=path)
    assert_same(load_checkpoint(path), good)


@pytest.mark.parametrize("decoder, transform", [("bernoulli", binarize), ("gaussian", None)])
@pytest.mark.parametrize("batch_size", [64, 200])
@pytest.mark.parametrize("learning_rate", [1e3, 1e30])
def test_diverging_run_stops_before_it_spoils_its_checkpoint(decoder, transform, batch_size, learning_rate, gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    settings = {"batch_size": batch_size, "transform": transform, "validation": None, "checkpoint": path}
    with pytest.raises(FloatingPointError, match="learning_rate"):
        run(gen, digits, 3, small(gen, 0, decoder), learning_rate=learning_rate, **settings)
    if path.exists():
        assert elbo(load_checkpoint(path)[0], black_or_white(digits[:9], None)).elbo.isfinite().all()


BAD = {
    "NaN": (lambda x: {"images": x * float("nan")}, "nan"),
    "levels": (lambda x: {"images": x * 255}, r"\[0, 1\].*255"),
    "other pixels": (lambda x: {"images": x[:, 1:]}, r"\[N, 784\].*783"),
    "no images": (lambda x: {"images": x[:0]}, "0, 784"),
    "bad validation": (lambda x: {"validation": x[:5, 1:]}, "783"),
    "more validation than data": (lambda x: {"validation": torch.cat([x, x])}, "200 and 100"),
    "epochs": (lambda x: {"epochs": -1}, "epochs.*-1"),
    "batch size": (lambda x: {"batch_size": 0}, "batch_size.*0"),
    "learning rate": (lambda x: {"learning_rate": 0.0}, "learning_rate.*0"),
    "learning rate NaN": (lambda x: {"learning_rate": float("nan")}, "learning_rate.*nan"),
    "grey pixels": (lambda x: {"transform": None}, "grey"),
    "grey validation": (lambda x: {"images": x.round(), "validation": x[:5], "transform": None}, "grey"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_runs_are_refused_before_any_step(what, gen, digits):
    spoil, came = BAD[what]
    model = small(gen)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"expected.*{came}"):
        fit(model, **{"images": digits[:100], "epochs": 1, "transform": binarize} | spoil(digits[:100]))
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


def test_cosine_rises_to_its_peak_and_falls():
    rate = Cosine(2e-3)
    rates = [rate(s / 1000) for s in range(1000)]
    assert 0 < rates[0] < 1e-5 and max(rates) == pytest.approx(2e-3) and rates.index(max(rates)) == 100
    assert rates[:101] == sorted(rates[:101]) and rates[100:] == sorted(rates[100:])[::-1]
    assert rates[550] == pytest.approx(2e-3 * 0.505) and rates[-1] == pytest.approx(2e-5, rel=0.01)


def test_schedule_reaches_the_optimizer(gen, digits, monkeypatch):
    seen = []
    step = torch.optim.Adam.step

    def counting(self, *rest):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", counting)
    run(gen, digits, epochs=2, learning_rate=Cosine(1e-3))  # 4 steps an epoch
    assert seen == pytest.approx([Cosine(1e-3)(s / 8) for s in range(8)])


def test_importance_weighted_bound_is_trained_from_its_share_on(gen, digits, monkeypatch):
    seen = []
    bound = training.importance_elbo

    def counting(model, x, noise):
        seen.append(len(noise))
        return bound(model, x, noise=noise)

    monkeypatch.setattr(training, "importance_elbo", counting)
    _, history = run(gen, digits, epochs=4, samples=3, importance_from=0.5)
    assert seen == [3] * 8 and history.epochs == 4  # the last two epochs, four batches each
    _, history = run(gen, digits, epochs=1, samples=3)
    assert len(seen) == 12


@pytest.mark.parametrize("settings", [{"learning_rate": Cosine(2e-3)}, {"samples": 3, "importance_from": 0.5}])
def test_scheduled_run_goes_on_as_if_it_had_not_been_interrupted(settings, gen, digits, tmp_path):
    whole = run(gen, digits, epochs=4, **settings)
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        transform = Interrupt(15, binarize)
        run(gen, digits, epochs=4, transform=transform, checkpoint=path, **settings)
    assert 1 <= load_checkpoint(path)[1].epochs < 4
    assert_same(run(gen, digits, epochs=4, checkpoint=path, **settings), whole)
    with pytest.raises(ValueError, match="over 4 epochs.*over 5 epochs"):
        run(gen, digits, epochs=5, checkpoint=path, **settings)


@pytest.mark.parametrize("settings", [{"samples": 0}, {"importance_from": 1.0}, {"importance_from": -0.1}, {"learning_rate": Cosine(0.0)}])
def test_impossible_schedules_are_refused(settings, gen, digits):
    with pytest.raises(ValueError, match="expected epochs >= 0.*got"):
        run(gen, digits, **settings)


WORKER = """
import os, sys
import torch
import torch.distributed as dist
from vae_core import VAE, binarize, fit, load_digits

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
model = VAE(2, (16,), "bernoulli", generator=torch.Generator().manual_seed(0))
fit(model, images, 3, 64, transform=transform, generator=torch.Generator().manual_seed(1), checkpoint=path, samples=2, importance_from=0.5)
dist.destroy_process_group()
"""


def torchrun(script, *arguments, processes=2):
    """Run a script in several processes on this machine."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script, *arguments]
    return subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, timeout=240)


def test_two_processes_give_what_one_gives_and_go_on_after_a_death(gen, tmp_path):
    images = load_digits("train").images[:202]
    alone = small(gen)
    history = fit(alone, images, 3, 64, transform=binarize, generator=gen(1), samples=2, importance_from=0.5)
    script, path = tmp_path / "worker.py", tmp_path / "run.pt"
    script.write_text(WORKER)

    died = torchrun(script, path, 9)  # in the second epoch: one measurement, four batches, a probe, then three more
    assert died.returncode != 0, died.stderr[-2000:]
    assert load_checkpoint(path)[1].epochs == 1
    done = torchrun(script, path, 0)
    assert done.returncode == 0, done.stderr[-2000:]
    shared, other = load_checkpoint(path)
    for ours, theirs in zip(alone.parameters(), shared.parameters()):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert other.train_elbo == pytest.approx(history.train_elbo, abs=1e-3) and other.epochs == 3


def test_every_process_needs_an_image_of_every_batch(gen, digits, monkeypatch):
    monkeypatch.setattr(training, "_world", lambda: 3)
    with pytest.raises(ValueError, match="each of 3 processes, got one of 2"):
        fit(small(gen), digits[:66], 1, 64, transform=binarize)


def test_images_that_do_not_suit_a_continued_run_are_named(gen, digits, tmp_path):
    run(gen, digits, 1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="grey ones: see binarize"):
        run(gen, digits, 2, checkpoint=tmp_path / "run.pt", transform=None)


@pytest.mark.parametrize("samples", [1, 3])
def test_bfloat16_products_train_the_same_model_a_little_less_exactly(samples, gen, digits, tmp_path):
    model, history = run(gen, digits, samples=samples)
    other, less_exact = run(gen, digits, samples=samples, precision=torch.bfloat16, checkpoint=tmp_path / "run.pt")
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert less_exact.train_elbo != history.train_elbo
    assert less_exact.train_elbo == pytest.approx(history.train_elbo, rel=0.01)
    with pytest.raises(ValueError, match="precision: 'torch.bfloat16' there"):
        run(gen, digits, samples=samples, checkpoint=tmp_path / "run.pt")


def test_beta_weighs_the_second_term_of_the_gradient(gen, digits):
    """One step of Adam from the same weights: the gradient is that of reconstruction − β KL."""
    model, reference = small(gen), small(gen)
    fit(model, digits[:50], 1, batch_size=50, transform=binarize, generator=gen(1), beta=0.25)
    source = gen(1)
    order = torch.randperm(50, generator=source)  # what fit draws, in its order
    x = binarize(digits[:50][order], source)
    noise = torch.randn(1, 50, reference.config["latent"], generator=source)
    optimizer = torch.optim.Adam(reference.parameters(), lr=1e-3)
    terms = elbo(reference, x, noise=noise)
    (-(terms.reconstruction - 0.25 * terms.kl).mean()).backward()
    optimizer.step()
    for a, b in zip(model.parameters(), reference.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_large_beta_makes_codes_cheap_and_a_small_one_dear(gen, digits):
    kl = {beta: run(gen, digits, epochs=12, beta=beta)[1].validation_kl[-1] for beta in (0.1, 1.0, 10.0)}
    assert kl[0.1] > 1.2 * kl[1.0] > 1.2 * 1.2 * kl[10.0]
    assert_same(run(gen, digits), run(gen, digits, beta=1))


@pytest.mark.parametrize("bad", [{"beta": -1}, {"beta": math.inf}, {"beta": math.nan}, {"beta": 2, "samples": 3}], ids=str)
def test_an_impossible_beta_is_refused(bad, gen, digits):
    with pytest.raises(ValueError, match="expected beta >= 0"):
        run(gen, digits, **bad)


def test_a_checkpoint_of_another_beta_is_refused(gen, digits, tmp_path):
    run(gen, digits, beta=2, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="beta"):
        run(gen, digits, checkpoint=tmp_path / "run.pt")
