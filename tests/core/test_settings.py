"""Settings: each bad value is refused by its name, and the learning rate follows its schedule."""

import dataclasses
import math

import pytest

from vae_core import Settings

BAD = {
    "epochs": [-1, 2.5, "3", None],
    "batch_size": [0, -5, 10.0],
    "learning_rate": [0, -1e-3, math.inf, math.nan],
    "schedule": ["linear", "Cosine", None],
    "samples": [0, -1, 1.5],
    "importance_from": [-0.1, 1.0, math.nan],
    "beta": [-1, math.inf, math.nan],
    "precision": ["float16", "double", None],
}
ALL = [(name, value) for name, values in BAD.items() for value in values]


@pytest.mark.parametrize(("name", "value"), ALL, ids=[f"{n}={v}" for n, v in ALL])
def test_a_bad_value_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"expected .*{name}.*got .*{value}"):
        Settings(**{name: value})


def test_every_setting_has_a_bad_value_here_and_a_good_default():
    assert [field.name for field in dataclasses.fields(Settings)] == list(BAD)
    assert Settings() == Settings(30, 100, 1e-3, "constant", 1, 0.0, 1.0, "float32")


def test_beta_belongs_to_the_elbo_alone():
    with pytest.raises(ValueError, match="beta = 1 with more than one sample, got 2"):
        Settings(beta=2, samples=3)
    assert Settings(beta=0.0).beta == 0 and Settings(beta=1, samples=3).samples == 3


def test_a_misspelt_setting_is_a_type_error():
    with pytest.raises(TypeError, match="learning_rates"):
        Settings(learning_rates=1e-3)


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().epochs = 3


def test_a_constant_rate_stays():
    assert {Settings(learning_rate=0.2).rate(s / 10) for s in range(10)} == {0.2}


def test_cosine_rises_to_its_peak_and_falls():
    rates = [Settings(learning_rate=2e-3, schedule="cosine").rate(s / 1000) for s in range(1000)]
    assert 0 < rates[0] < 1e-5 and max(rates) == pytest.approx(2e-3)
    assert rates.index(max(rates)) == 100
    assert rates[:101] == sorted(rates[:101]) and rates[100:] == sorted(rates[100:])[::-1]
    assert rates[50] == pytest.approx(2e-3 * 0.5005)
    assert rates[550] == pytest.approx(2e-3 * 0.505) and rates[-1] == pytest.approx(2e-5, rel=0.01)
