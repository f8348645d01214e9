"""The settings of a training run: one frozen dataclass, checked when it is made."""

import math
from dataclasses import dataclass

from vae_core.data import expect


@dataclass(frozen=True)
class Settings:
    """What `fit` does with a model and its images. Raises `ValueError`: a bad value. Chapter 3."""

    epochs: int = 30  #: Passes over the images, with those that a checkpoint has.
    batch_size: int = 100  #: B, images a step, over all processes.
    learning_rate: float = 1e-3  #: The largest learning rate, of Adam (Kingma & Ba 2015).
    schedule: str = "constant"  #: `constant` or `cosine`, as `rate` says.
    samples: int = 1  #: K; above 1 the importance-weighted bound is maximised (Burda et al. 2016).
    importance_from: float = 0.0  #: Fraction of the epochs with K = 1, the ELBO, before that.
    beta: float = 1.0  #: β, weight of the KL to the prior, if K = 1 (Higgins et al. 2017).
    precision: str = "float32"  #: Of matrix products; `bfloat16` is faster on some processors.

    def __post_init__(self) -> None:
        for name, least in {"epochs": 0, "batch_size": 1, "samples": 1}.items():
            value = getattr(self, name)
            fits = isinstance(value, int) and value >= least
            expect(fits, f"{name} to be a whole number of at least {least}", value)
        known = {"schedule": ("constant", "cosine"), "precision": ("float32", "bfloat16")}
        for name, values in known.items():
            value = getattr(self, name)
            expect(value in values, f"{name} to be one of {values}", repr(value))
        expect(0 < self.learning_rate < math.inf, "learning_rate > 0", self.learning_rate)
        expect(0 <= self.importance_from < 1, "0 <= importance_from < 1", self.importance_from)
        fits = 0 <= self.beta < math.inf and (self.beta == 1 or self.samples == 1)
        expect(fits, "beta >= 0, and beta = 1 with more than one sample", self.beta)

    def rate(self, s: float) -> float:
        """Give the learning rate η when a fraction s of all steps is done, 0 ≤ s < 1.

        Cosine: η rises from η_max/1000, η(s) = η_max (0.001 + 9.99 s) for s < 0.1, and falls to
        η_max/100, η(s) = η_max (0.01 + 0.495 (1 + cos π(s − 0.1)/0.9)).
        """
        if self.schedule == "constant":
            return self.learning_rate
        falling = 0.01 + 0.495 * (1 + math.cos(math.pi * (s - 0.1) / 0.9))
        return self.learning_rate * (0.001 + 9.99 * s if s < 0.1 else falling)
