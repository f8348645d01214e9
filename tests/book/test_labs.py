"""The labs as a kernel runs them: controls, progress, pictures, errors, and what is cancelled."""

import asyncio
import io
import re
from pathlib import Path

import pytest
import torch
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image as Pictures

import labs
from deeper import add_pixel_noise
from vae_core import binarize, load_digits, load_pretrained


@pytest.fixture(scope="module")
def lab_of():
    """Each lab, small."""
    train, test = load_digits("train").images, load_digits("test").images
    x = binarize(test, torch.Generator().manual_seed(1))
    noisy = add_pixel_noise(train[::8].double(), generator=torch.Generator().manual_seed(1))
    model = load_pretrained().model
    return {
        "linear": lambda: labs.linear_lab(noisy, noisy[:20]),
        "own_q": lambda: labs.own_q_lab(load_pretrained().model, x),
        "training": lambda: labs.training_lab(train[::20]),
        "estimator": lambda: labs.estimator_lab(train[::20]),
        "bound": lambda: labs.bound_lab(model, x),
        "throw": lambda: labs.throw_lab(model, x),
    }


SMALL = {
    "linear": {"latent": 3},
    "own_q": {"digit": 7, "push_1": 0.5},
    "training": {"epochs": 2, "latent": 3},
    "estimator": {"epochs": 1, "latent": 3, "draws": 20},
    "bound": {"digits": 3, "most": 100},
    "throw": {"digit": 200, "codes": 10_000},
}
SAYS = {
    "linear": r"log p\(x\) = -?\d+\.\d\d nats",
    "own_q": r"Third term: the encoder&#x27;s \d+\.\d\d, yours \d+\.\d\d nats",
    "training": r"epoch 2 of 2: .* ELBO -\d+\.\d nats",
    "estimator": r"after 1 epochs .* \d+\.\d times",
    "bound": r"K = 100: -\d+\.\d\d nats",
    "throw": r"from 10,000 codes, -\d+\.\d{3} from a grid\. \d+ codes survive; counted",
}


def set_controls(lab, values):
    for name, value in values.items():
        lab.controls[name].value = value


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_lab_runs_and_shows(lab_of, name):
    lab = lab_of[name]()
    set_controls(lab, SMALL[name])
    assert lab.picture.layout.display == "none"
    asyncio.run(lab.run())
    assert lab.progress.value == 1 and lab.progress.bar_style == "success"
    assert re.search(SAYS[name], lab.message.value), lab.message.value
    assert (
        Pictures.open(io.BytesIO(lab.picture.value)).width > 300
        and lab.picture.layout.display == ""
    )


@pytest.mark.parametrize("name", SMALL)
def test_a_lab_is_a_sentence_on_a_static_page(lab_of, name):
    bundle = lab_of[name]()._repr_mimebundle_()
    assert bundle["text/plain"] == labs.NEEDS_KERNEL and labs.NEEDS_KERNEL in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.mark.slow
def test_own_q_moves_only_the_third_term_and_the_elbo(lab_of):
    found = []
    for push in (0.0, 1.0):
        lab = lab_of["own_q"]()
        set_controls(lab, {"push_1": push})
        asyncio.run(lab.run())
        found.append([float(v) for v in re.findall(r"-?\d+\.\d\d", lab.message.value)])
    (log_px, _, same, _, _), (other_px, _, mine, elbo, my_elbo) = found
    assert log_px == other_px and mine > same and my_elbo < elbo
    assert my_elbo + mine == pytest.approx(log_px, abs=0.02)


@pytest.mark.slow
def test_a_throw_and_a_count_find_what_the_grid_knows(lab_of):
    lab = lab_of["throw"]()
    set_controls(lab, {"digit": 200, "codes": 100_000, "seed": 1})
    asyncio.run(lab.run())
    numbers = [float(v) for v in re.findall(r"-?\d+\.\d+", lab.message.value)]
    thrown, error, exact, counted, counted_error = numbers
    assert abs(thrown - exact) < 4 * error < 0.5
    assert abs(counted - exact) < 4 * counted_error + 0.1  # a box is no point


def test_too_few_survivors_are_said(lab_of):
    lab = lab_of["throw"]()
    set_controls(lab, {"codes": 100})
    asyncio.run(lab.run())
    assert "survive; too few to count." in lab.message.value


@pytest.mark.slow
def test_beta_changes_what_is_learned(lab_of):
    kl = []
    for beta in (0.1, 10.0):
        lab = lab_of["training"]()
        set_controls(lab, {"epochs": 4, "beta": beta})
        asyncio.run(lab.run())
        kl.append(float(re.search(r"prior (\d+\.\d)", lab.message.value)[1]))
    assert kl[0] > 2 * kl[1]


def failing(share):
    yield share, "begun", None
    raise ValueError("expected <less>")


def test_what_cannot_be_run_is_said_and_the_last_result_stays():
    lab = labs.Lab(failing, {"share": labs.widgets.FloatSlider(0.5)})
    lab.picture.value = b"the last result"
    asyncio.run(lab.run())
    assert (
        lab.message.value
        == "<b>This cannot be run:</b> expected &lt;less&gt;. The last result stays."
    )
    assert lab.picture.value == b"the last result" and lab.progress.bar_style == "danger"


def test_more_digits_than_there_are_is_said(lab_of):
    lab = labs.bound_lab(load_pretrained().model, torch.zeros(2, 784))
    asyncio.run(lab.run())
    assert "at most 2 digits, got 20" in lab.message.value


def test_running_again_cancels_the_last_run():
    begun, ended = [], []

    def endless(share):
        begun.append(share)
        for number in range(1_000_000 if share < 1 else 3):
            yield 0.5, f"run {share}, step {number}", None
        ended.append(share)

    async def press_twice():
        lab = labs.Lab(endless, {"share": labs.widgets.FloatSlider(0.5)})
        lab.button.click()
        first = lab.task
        await asyncio.sleep(0.05)
        lab.controls["share"].value = 1.0
        lab.button.click()
        await lab.task
        assert first.cancelled() and lab.task is not first and "run 1.0" in lab.message.value

    asyncio.run(press_twice())
    assert begun == [0.5, 1.0] and ended == [1.0]


PRESS = """
import labs
from vae_core import binarize, load_digits, load_pretrained

x = binarize(load_digits("test").images[:5])
lab = labs.bound_lab(load_pretrained().model, x)
lab.controls["digits"].value = 2
lab.controls["most"].value = 10
lab.button.click()
print(lab.progress.value)
lab
"""


@pytest.mark.slow
def test_a_lab_runs_in_a_kernel_when_its_button_is_pressed():
    """In a kernel, where a loop runs: the press returns at once; the next cell can wait for it."""
    second = "await lab.task\nprint(lab.progress.value, lab.message.value)"
    notebook = new_notebook(cells=[new_code_cell(PRESS), new_code_cell(second)])
    # a chapter runs in its own folder, where labs is
    beside = {"metadata": {"path": str(Path(labs.__file__).parent)}}
    done = NotebookClient(notebook, timeout=120, kernel_name="python3", resources=beside).execute()
    pressed, shown = done.cells[0].outputs
    assert pressed.text == "0.0\n" and "application/vnd.jupyter.widget-view+json" in shown.data
    assert done.cells[1].outputs[0].text.startswith("1.0 K = 10: ")
