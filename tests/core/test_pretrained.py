"""The shipped models have fixed weights, say where they came from, and can be made again."""

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers import Interrupt, load
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.special import log_ndtr

from vae_core import (
    Settings,
    binarize,
    load_checkpoint,
    load_digits,
    load_mnist,
    load_pretrained,
    pretrained,
)

ROOT = Path(__file__).resolve().parents[2]


pretrain = load("book/_tools/pretrain")
likelihood = load("benchmarks/likelihood")
MADE_HERE = pretrain.RECIPES.keys()
KINDS = {
    "bernoulli": {"latent": 2, "hidden": (100,), "likelihood": "bernoulli"},
    "gaussian": {"latent": 20, "hidden": (256,), "likelihood": "gaussian"},
    "mnist": {"latent": 50, "hidden": (500, 400), "likelihood": "bernoulli"},
}
# Numbers of the chapters hang on these weights.
SHA256 = "b11f8b596d0b81754bf2b3ae96ccbf30d302cf0bb4d29c5ae630f98c24d048ad"


def log_px_given(model, x, z):
    """log p(x|z) of images `[B, D]` given a code each, by torch.distributions or by its formula."""
    output = model.decoder[:-1](z)
    if output.shape[-1] == x.shape[-1]:
        return Bernoulli(logits=output).log_prob(x).sum(-1)
    loc, log_scale = output.double().chunk(2, dim=-1)
    seen, x = Normal(loc, log_scale.exp()), x.double()
    mass = seen.cdf(x + 0.5 / 255) - seen.cdf(x - 0.5 / 255)
    # far out a difference of two cdf has lost its digits, and a density has not
    inner = torch.where(mass < 1e-9, seen.log_prob(x) - math.log(255), mass.log())
    black, white = (
        sign * (loc - edge / 255) / seen.scale for sign, edge in ((-1, 0.5), (1, 254.5))
    )
    inner = torch.where(x == 0, log_ndtr(black), inner)
    return torch.where(x == 1, log_ndtr(white), inner).sum(-1)


def elbos(model, x, generator, samples):
    """The ELBO of each image in nats, with noise of our own."""
    with torch.no_grad():
        mean, log_var = model.encoder[:-1](x).chunk(2, dim=-1)
        q = Normal(mean, log_var.exp().sqrt())
        z = mean + q.stddev * torch.randn(samples, *mean.shape, generator=generator)
        reconstruction = torch.stack([log_px_given(model, x, code) for code in z]).mean(0)
        return (reconstruction - kl_divergence(q, Normal(0.0, 1.0)).sum(-1)).double()


def validation_elbos(name, model, seed, samples):
    generator = torch.Generator().manual_seed(seed)
    x = load_digits("validation").images
    return elbos(model, binarize(x, generator) if name == "bernoulli" else x, generator, samples)


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_weights_are_fixed_and_whole_in_half_precision(name):
    (model, origin), (again, _) = load_pretrained(name), load_pretrained(name)
    assert model.config == {"mlp": KINDS[name] | {"pixels": 784}} and not model.training
    for key, weight in model.state_dict().items():
        assert weight.dtype == torch.float32 and not weight.requires_grad
        assert torch.equal(weight.half().float(), weight)
        assert torch.equal(again.state_dict()[key], weight)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {"command", "data", "settings", "torch", "sha256"} <= origin.keys()
    split = "test" if name == "mnist" else "validation"
    assert origin[f"{split}_elbo"] < 0 < origin[f"{split}_error"]


def test_the_first_model_is_the_usual_one_and_stays_what_it_was():
    assert load_pretrained().origin == load_pretrained("bernoulli").origin
    assert load_pretrained().origin["sha256"] == SHA256


@pytest.mark.parametrize("name", MADE_HERE)
def test_origin_tells_the_recipe(name):
    recipe, origin = pretrain.RECIPES[name], load_pretrained(name).origin
    assert origin["settings"] == {**asdict(recipe.settings), "seed": recipe.seed}
    assert (origin["command"], origin["data"]) == (recipe.command, recipe.data)


def test_origin_of_mnist_is_a_row_of_the_benchmark():
    told = json.loads(json.dumps(pretrain.describe_mnist(pretrained.WEIGHTS / "mnist.safetensors")))
    origin = load_pretrained("mnist").origin
    assert origin == told
    assert "never score this model on load_digits" in origin["data"]
    (seed,) = [
        seed
        for (goal, seed), file in likelihood.SHIPPED.items()
        if origin["command"] == f"python benchmarks/likelihood.py --goal {goal} --seed {seed}"
        and (likelihood.HERE / file).samefile(pretrained.WEIGHTS / "mnist.safetensors")
    ]
    assert seed == origin["settings"]["seed"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_elbo_of_black_and_white_digits_is_the_one_in_origin(seed):
    model, origin = load_pretrained()
    # other noise, other binarisation
    values = validation_elbos("bernoulli", model, seed, 100)
    assert values.mean().item() == pytest.approx(origin["validation_elbo"], abs=1.0)
    assert (values.std() / 500**0.5).item() == pytest.approx(origin["validation_error"], abs=0.1)
    mean, error = pretrain.validation_elbo(model, binarized=True)
    assert mean == pytest.approx(origin["validation_elbo"], abs=0.02)
    assert error == pytest.approx(origin["validation_error"], abs=0.02)


@pytest.mark.slow
def test_elbo_of_grey_digits_is_the_one_in_origin():
    model, origin = load_pretrained("gaussian")
    values = validation_elbos("gaussian", model, 0, 10)  # other noise
    assert values.mean().item() == pytest.approx(origin["validation_elbo"], abs=0.5)
    assert (values.std() / 500**0.5).item() == pytest.approx(origin["validation_error"], abs=0.1)


@pytest.mark.slow
def test_elbo_of_mnist_is_the_one_of_the_benchmark(mnist_root):
    """Of the first 2,000 test digits, with other noise and another formula."""
    row = next(
        row
        for row in json.loads(likelihood.RESULTS.read_text(encoding="utf-8"))
        if (row["goal"], row["seed"]) in likelihood.SHIPPED
    )
    x = binarize(load_mnist(mnist_root, "test").images, torch.Generator().manual_seed(2016))
    values = elbos(
        load_pretrained("mnist").model, x[:2000], torch.Generator().manual_seed(0), samples=10
    )
    assert values.mean().item() == pytest.approx(row["first_2000"]["test"]["elbo"], abs=0.15)
    first, stored = values[:1000], load_pretrained("mnist").origin
    error = math.hypot((first.std() / 1000**0.5).item(), stored["test_error"])
    assert abs(first.mean().item() - stored["test_elbo"]) < 4 * error


def test_loading_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    load_pretrained()
    assert torch.equal(torch.get_rng_state(), before)


BROKEN = {
    "no bytes": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "one byte short": lambda whole: whole[:-1],
    "text": lambda whole: b"<html>404</html>",
    "another layer": lambda whole: whole.replace(b'"encoder.0.bias"', b'"encoder.9.bias"'),
    "another shape": lambda whole: whole.replace(b'"shape":[100]', b'"shape":[1e2]'),
    "a bit flipped": lambda whole: whole[:-101] + bytes([whole[-101] ^ 64]) + whole[-100:],
}
MISTOLD = {
    "nothing": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "of others": lambda text: text.replace('"bernoulli": {', '"binomial": {'),
    "no model": lambda text: text.replace('"model": {', '"modem": {'),
    "no such model": lambda text: text.replace('"mlp"', '"mlb"'),
    "another size": lambda text: text.replace('"latent": 2,', '"latent": 3,'),
    "no size": lambda text: text.replace('"latent": 2,', '"latent": "2",'),
    "other weights": lambda text: text.replace(SHA256, SHA256[::-1]),
}


@pytest.fixture
def folder(tmp_path):
    """A copy of the first model's files."""
    for name in ("origin.json", "bernoulli.safetensors"):
        shutil.copy(pretrained.WEIGHTS / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", BROKEN)
def test_broken_weights_are_named(how, folder):
    path = folder / "bernoulli.safetensors"
    whole = path.read_bytes()
    path.write_bytes(BROKEN[how](whole))
    assert path.read_bytes() != whole
    with pytest.raises(ValueError, match=f"^{path} is truncated.*make pretrained"):
        load_pretrained(folder=folder)


@pytest.mark.parametrize("how", MISTOLD)
def test_a_broken_origin_is_named(how, folder):
    path = folder / "origin.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(MISTOLD[how](whole), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != whole
    with pytest.raises(ValueError, match=f"not what {path} describes.*make pretrained"):
        load_pretrained(folder=folder)


@pytest.mark.parametrize("name", ["origin.json", "bernoulli.safetensors"])
def test_missing_files_are_named(name, folder):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"^no file {folder / name}: .*make pretrained"):
        load_pretrained(folder=folder)


def test_an_unknown_name_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'bernoulli', 'gaussian', 'mnist'.*got 'binomial'"):
        load_pretrained("binomial")


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE_HERE)
def test_command_writes_what_is_loaded(name, tmp_path, monkeypatch, capsys):
    short = pretrain.RECIPES[name]._replace(settings=Settings(epochs=1))
    monkeypatch.setitem(pretrain.RECIPES, name, short)
    pretrain.main(["--model", name, "--output", str(tmp_path)])
    model, origin = load_pretrained(name, tmp_path)
    made, history = pretrain.train(short, progress=False)
    for key, weight in made.state_dict().items():
        assert torch.equal(weight.half().float(), weight)
        assert torch.equal(model.state_dict()[key], weight)
    assert origin == json.loads(json.dumps(pretrain.describe(short, made, history)))
    assert f"{origin['validation_elbo']} ± {origin['validation_error']}" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "origin.json").read_text(encoding="utf-8"))) == [name]


def test_command_says_how_the_model_of_mnist_is_made(tmp_path, capsys):
    shutil.copy(pretrained.WEIGHTS / "mnist.safetensors", tmp_path)
    pretrain.main(["--model", "mnist", "--output", str(tmp_path)])
    origin = load_pretrained("mnist", tmp_path).origin
    assert (
        origin == load_pretrained("mnist").origin and origin["command"] in capsys.readouterr().out
    )
    shutil.copy(pretrained.WEIGHTS / "bernoulli.safetensors", tmp_path / "mnist.safetensors")
    with pytest.raises(ValueError, match="of no row"):
        pretrain.main(["--model", "mnist", "--output", str(tmp_path)])


def test_all_that_load_digits_can_train_is_trained_by_default(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(pretrain, "train", lambda recipe: seen.append(recipe) or (None, None))
    monkeypatch.setattr(
        pretrain,
        "describe",
        lambda *_: {"validation_elbo": -1.0, "validation_error": 0.1},
    )
    monkeypatch.setattr(pretrain, "save_weights", lambda *_: None)
    pretrain.main(["--output", str(tmp_path)])
    assert seen == list(pretrain.RECIPES.values())


def test_training_follows_its_seed():
    short = pretrain.RECIPES["bernoulli"]._replace(settings=Settings(epochs=1))
    first, second = (
        pretrain.train(short._replace(seed=seed), progress=False)[0].state_dict() for seed in (0, 1)
    )
    assert not torch.equal(first["encoder.0.weight"], second["encoder.0.weight"])


@pytest.mark.slow
def test_training_again_gives_as_good_a_model():
    """The whole of it, for the smallest model."""
    model, _ = pretrain.train(pretrain.RECIPES["bernoulli"], progress=False)
    values = validation_elbos("bernoulli", model, 0, 100)
    assert values.mean().item() == pytest.approx(
        load_pretrained().origin["validation_elbo"], abs=3.0
    )


@pytest.mark.slow
def test_training_the_grey_model_again_begins_alike(tmp_path, monkeypatch):
    """Its first three epochs, since the whole takes a minute; the ELBO after each is stored."""
    recipe, path = pretrain.RECIPES["gaussian"], tmp_path / "run.pt"
    epochs = 3
    calls = 4 + 1 + epochs * (40 + 1)  # before training 4 + 1 parts are measured, then 1 an epoch
    stop = Interrupt(calls + 1, lambda batch, generator: batch)
    monkeypatch.setattr(pretrain.Recipe, "transform", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain.train(recipe, progress=False, checkpoint=path)
    _, history = load_checkpoint(path)
    again = [
        first - second
        for first, second in zip(
            history.validation_reconstruction, history.validation_kl, strict=True
        )
    ]
    assert len(again) == epochs + 1
    stored = load_pretrained("gaussian").origin["validation_elbo_by_epoch"]
    assert again == pytest.approx(stored[: epochs + 1], abs=1.0)


@pytest.mark.slow
def test_training_the_model_of_mnist_again_begins_well(mnist_root):
    """Four epochs of 12,500 digits, 200 steps, as its command has them but for the precision."""
    images = load_mnist(mnist_root, "train").images
    ((goal, seed),) = likelihood.SHIPPED
    # not every processor is quick at bfloat16
    settings = likelihood.GOALS[goal] | {"epochs": 4, "precision": "float32"}
    model, _, _ = likelihood.train(settings, images[:12_500], seed)
    x = binarize(images[-1000:], torch.Generator().manual_seed(1))
    value = elbos(model, x, torch.Generator().manual_seed(2), samples=5).mean().item()
    # two seeds gave -164 and -160 nats
    assert value > -180, value
