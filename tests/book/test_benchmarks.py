"""The stored results: made by the code that is here, on digits that no model was trained on."""

import hashlib
import inspect
import itertools
import json
import random
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from helpers import load
from safetensors import safe_open
from safetensors.torch import load_file

from vae_core import (
    VAE,
    binarize,
    elbo,
    importance_log_likelihood,
)

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"


SCRIPTS = [path for path in sorted(FOLDER.glob("*.py")) if path.stem not in ("timing", "record")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_starts(path):
    """In a process of its own: here, tests have put the book's folder on the path."""
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "usage" in done.stdout


likelihood = load("benchmarks/likelihood")
speed, scaling = load("benchmarks/speed"), load("benchmarks/scaling")
timing = speed.timing
ROWS = json.loads((FOLDER / "likelihood.json").read_text(encoding="utf-8"))
NAMES = [f"{row['goal']}-{row['seed']}" for row in ROWS]


def stored(row):
    """The model of a row."""
    model = VAE.mlp(row["settings"]["latent"], tuple(row["settings"]["hidden"]), "bernoulli")
    model.load_state_dict(load_file(FOLDER / row["model"]["file"]))
    return model


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_rows_belong_to_their_models_and_settings(row):
    path = FOLDER / row["model"]["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["model"]["sha256"]
    goal = likelihood.GOALS[row["goal"]]
    assert {name: row["settings"][name] for name in goal} == goal | {"hidden": list(goal["hidden"])}
    assert sum(p.numel() for p in stored(row).parameters()) == row["settings"]["parameters"]
    assert row["samples"] == 5000 and row["test_binarisation"]["seed"] == likelihood.TEST_SEED


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_goals_are_reached_in_their_time(row):
    limit, minutes = {"one": (86.0, 10), "two": (84.78, 40)}[row["goal"]]
    assert row["nll"] < limit and row["training_seconds"] <= 60 * minutes and row["threads"] <= 2


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_the_bound_rises_with_its_samples(row):
    by_samples = {int(count): nll for count, nll in row["nll_by_samples"].items()}
    values = [by_samples[count] for count in sorted(by_samples)]
    assert (
        values == sorted(values, reverse=True)
        and values[0] == -row["elbo"]
        and values[-1] == row["nll"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS[:1] + ROWS[-1:], ids=NAMES[:1] + NAMES[-1:])
def test_stored_models_give_the_stored_numbers(row, mnist_root):
    x, _, digest = likelihood.binarized_test(mnist_root)
    assert digest == row["test_binarisation"]["sha256"]
    with torch.no_grad():
        bound = elbo(stored(row), x[:2000], 20, likelihood.seeded(4)).elbo.mean().item()
    assert abs(bound - row["first_2000"]["test"]["elbo"]) < 0.01
    # there K = 500
    assert (
        abs(likelihood.nll_of(stored(row), x[:2000], 50) - row["first_2000"]["test"]["nll"]) < 1.5
    )


def test_no_model_of_mnist_is_scored_on_digits_of_its_training_set(monkeypatch, mnist_root):
    """All digits of `load_digits` are in MNIST's training set: what scores these reads none."""
    for path in FOLDER.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        mnist = "load_mnist" in text or '"models"' in text or '"mnist"' in text
        assert not ("load_digits" in text and mnist), path.name
    for path in (ROOT / "book").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert not ("benchmarks/models" in text and "load_digits" in text), path.name
        for cell in json.loads(text)["cells"]:
            source = "".join(cell["source"])
            assert not ('load_pretrained("mnist")' in source and "load_digits" in source), path.name
    for path in (FOLDER / row["model"]["file"] for row in ROWS):
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"trained on": "MNIST, train"}
    splits = []
    whole = likelihood.load_mnist
    monkeypatch.setattr(
        likelihood, "load_mnist", lambda root, split: splits.append(split) or whole(root, split)
    )
    likelihood.binarized_test(mnist_root)
    assert splits == ["test"]


def test_numbers_are_stored_at_four_decimals():
    assert likelihood.rounded({1: [0.123456, 3], "a": {"b": 2.0}}) == {
        "1": [0.1235, 3],
        "a": {"b": 2.0},
    }


def test_what_goes_into_the_table_has_the_goals_epochs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["likelihood.py", "--epochs", "3"])
    with pytest.raises(SystemExit) as exit:
        likelihood.main()
    assert exit.value.code == 2 and "--epochs needs --choose" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_run_is_measured_with_the_settings_of_a_goal(digits, gen):
    settings = likelihood.GOALS["one"] | {
        "hidden": (20,),
        "latent": 3,
        "epochs": 2,
        "batch_size": 50,
        "samples": 2,
        "importance_from": 0.5,
    }
    model, history, seconds = likelihood.train(settings, digits, 0)
    assert model.latent == 3 and history.epochs == 2 and seconds > 0
    x = binarize(digits[:4], gen(1))
    expected = -importance_log_likelihood(model, x, 7, 1000, gen(2)).double().mean().item()
    assert likelihood.nll_of(model, x, 7) == expected


def test_every_goal_has_three_seeds():
    assert sorted((row["goal"], row["seed"]) for row in ROWS) == [
        (goal, seed) for goal in likelihood.GOALS for seed in range(3)
    ]


def test_median_range_and_ratio():
    assert timing.summary([3.0, 1.0, 8.0]) == {"median": 3.0, "min": 1.0, "max": 8.0}
    values, base = [2.0, 6.0, 3.0], [1.0, 2.0, 3.0]
    assert timing.ratio(values, base) == {"of_medians": 1.5, "min": 1.0, "max": 3.0}
    rng = random.Random(0)
    for _ in range(200):  # the range within rounds holds the ratio of medians
        values, base = ([rng.uniform(1, 5) for _ in range(5)] for _ in range(2))
        found = timing.ratio(values, base)
        assert found["min"] <= found["of_medians"] <= found["max"]


def test_what_others_use_is_what_is_not_ours(monkeypatch):
    busy, own, wall = iter([(100.0, 200.0), (108.0, 220.0)]), iter([5.0, 10.5]), iter([0.0, 10.0])
    monkeypatch.setattr(timing, "processor_seconds", lambda: next(busy))
    monkeypatch.setattr(timing, "own_seconds", lambda: next(own))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(wall))
    assert timing.Watch().others() == 0.25
    monkeypatch.undo()
    monkeypatch.setattr(timing, "processor_seconds", lambda: (0.0, 0.0))  # nobody counts
    assert timing.Watch().others() is None


@pytest.mark.parametrize(
    ("average", "others", "own", "busy"),
    [
        (0.2, 0.01, 0, False),
        (3.0, 0.01, 0, True),
        (0.2, 0.30, 0, True),
        (2.3, 0.01, 2, False),  # after our own work the average holds it
        (2.3, 0.30, 2, True),
        (2.3, None, 2, False),
        (3.3, None, 2, True),
        (3.0, None, 0, True),
        (None, None, 0, False),
    ],
)
def test_what_counts_as_busy(average, others, own, busy):
    state = {"average": average, "others": others}
    with pytest.raises(timing.BusyError, match="now") if busy else nullcontext():
        timing.refuse(state, "now", own)


def test_measurements_have_their_own_threads_and_nothing_of_the_callers(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY"):
        monkeypatch.setenv(name, "7")
    found = timing.environment(2)
    threads = {name: value for name, value in found.items() if name.startswith(timing.SETTINGS)}
    assert threads == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"} and "PATH" in found


class Machine:
    """Fake measurements on a fake machine; `others` is asked once for each measurement."""

    def __init__(self, monkeypatch, others=(), average=0.1, after=0.0):
        self.shares, self.average, self.after, self.measured = list(others), average, after, []
        monkeypatch.setattr(timing, "cores", lambda: 2)
        monkeypatch.setattr(timing, "look", self.look)
        monkeypatch.setattr(timing, "Watch", lambda: self)
        monkeypatch.setattr(timing, "measure", self.measure)
        monkeypatch.setattr(speed, "_versions", lambda peers: {"pythae": "1", "pyro-ppl": "2"})

    def others(self):
        return self.shares.pop(0) if self.shares else 0.0

    def look(self):
        return {"average": self.average, "others": self.after if self.measured else 0.0}

    def measure(self, job, script, number):
        self.measured.append((number, job.name))
        value = 1.0 + len(job.name) + number
        elbo = None if job.name == "matmuls" else -105.0 - number
        return {"value": value, "threads": job.threads, "train_elbo": elbo}


@pytest.mark.parametrize("script", [speed, scaling], ids=["speed", "scaling"])
@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"average": 1.5}, "before the first round the load average was 1.50"),
        ({"others": [0.0, 0.0, 0.4]}, "round 1 of 5.*other processes used 0.40 of a core"),
        ({"after": 0.9}, "after the last round other processes used 0.90 of a core"),
    ],
    ids=["before", "meanwhile", "after"],
)
def test_a_busy_machine_is_refused_and_old_results_stay(
    script, machine, message, monkeypatch, tmp_path
):
    Machine(monkeypatch, **machine)
    output = tmp_path / "old.json"
    output.write_text("old")
    with pytest.raises(SystemExit, match=message) as stop:
        script.main(["--output", str(output)])
    assert "Nothing is written" in str(stop.value) and output.read_text() == "old"


@pytest.mark.parametrize("script", [speed, scaling], ids=["speed", "scaling"])
@pytest.mark.parametrize(
    "option", [["--anyway"], ["--rounds", "2"], ["--images", "600"]], ids=lambda given: given[0]
)
def test_trials_are_printed_and_never_written(script, option, monkeypatch, tmp_path, capsys):
    busy = [0.9] * 99 if option == ["--anyway"] else []
    Machine(monkeypatch, busy, average=5.0 if busy else 0.1, after=0.9 if busy else 0.0)
    output = tmp_path / "old.json"
    script.main(["--output", str(output), *option])
    printed = capsys.readouterr().out
    assert f"nothing is written: {option[0]}" in printed and not output.exists()
    assert "others 0.9 of a core" in printed or not busy


def test_it_waits_for_an_idle_machine_if_asked_to(monkeypatch):
    states = iter([{"average": 2.0, "others": 0.5}] * 3 + [{"average": 0.1, "others": 0.0}])
    monkeypatch.setattr(timing, "look", lambda: next(states))
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    assert timing.wait_until_idle(1) == {"average": 0.1, "others": 0.0}


def fields(value):
    """The names of all fields, without those of groups and rows."""
    found = dict.fromkeys(value)
    groups = value["groups"].values()
    rows = [row for group in groups for row in group["rows"].values()]
    return [*found], {tuple(group) for group in groups}, {tuple(row) for row in rows}


def test_both_scripts_store_the_same_fields(monkeypatch, tmp_path):
    made = []
    for script in (speed, scaling):
        machine = Machine(monkeypatch)
        script.main(["--output", str(tmp_path / "new.json")])
        made.append(json.loads((tmp_path / "new.json").read_text(encoding="utf-8")))
        orders = [[name for n, name in machine.measured if n == number] for number in range(5)]
        assert orders[1] == orders[0][1:] + orders[0][:1]  # each round begins with another
    new = [fields(value) for value in made]
    assert new[0] == new[1] and all(len(rows) == 1 for _, _, rows in new)
    for name in ("speed", "scaling"):
        stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        assert fields(stored) == new[0]
    assert made[0]["load"]["before"] == {"average": 0.1, "others": 0.0}
    assert made[0]["groups"]["one epoch"]["rows"]["ours"]["threads"] == 2
    assert made[1]["groups"]["processes, batches of 128"]["rows"]["2"]["processes"] == 2


def test_other_work_is_not_stored(monkeypatch, tmp_path):
    machine = Machine(monkeypatch)
    whole = machine.measure

    def measure(job, script, number):
        found = whole(job, script, number)
        return found | ({"train_elbo": -200.0} if (job.name, number) == ("pyro", 3) else {})

    monkeypatch.setattr(timing, "measure", measure)
    with pytest.raises(SystemExit, match="not the same work: the training ELBO of pyro differs"):
        speed.main(["--output", str(tmp_path / "new.json")])
    assert not (tmp_path / "new.json").exists()


@pytest.mark.slow
def test_the_step_by_hand_is_the_step_of_autograd(mnist_root):
    """From the same draws both loops come to the same weights."""
    images, models = speed.digits(mnist_root)[:640], []
    for contestant in (speed.plain, speed.by_hand):
        torch.manual_seed(3)
        try:
            models.append(contestant(images, mnist_root, 3)[0])
        finally:
            torch.set_grad_enabled(True)
    start = torch.cat([p.detach().flatten() for p in speed.networks(3).parameters()])
    ours, hand = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in models)
    assert (ours - hand).norm() < 1e-3 * (ours - start).norm()


RECORDS = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("speed", "scaling")
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_stored_medians_ranges_and_ratios_belong_to_the_stored_values(record):
    for group in record["groups"].values():
        base = group["rows"][group["base"]]["values"]
        for row in group["rows"].values():
            assert {name: row[name] for name in ("median", "min", "max")} == timing.summary(
                row["values"]
            )
            assert row["times_base"] == timing.ratio(row["values"], base)
            assert len(row["values"]) == len(row["others"]) == record["rounds"]


def test_contestants_did_the_same_work():
    rows = RECORDS["speed"]["groups"]["one epoch"]["rows"]
    assert set(speed.PEERS) < set(rows) <= set(speed.NAMES)
    assert speed.other_work(rows) == [] and rows["ours"]["train_elbo"][-1] is not None
    assert {name: row["what"] for name, row in rows.items()} == {n: speed.NAMES[n] for n in rows}


def loaded(record):
    """A record whose machine was watched; one from before that proves nothing about speed."""
    if record["load"]["before"] is None:
        pytest.skip("timed before the load of the machine was recorded")
    return record


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_stored_times_are_of_an_idle_machine(record):
    load = loaded(record)["load"]
    timing.refuse(load["before"], "before")
    timing.refuse(load["after"], "after", own=timing.THREADS)
    rows = [row for group in record["groups"].values() for row in group["rows"].values()]
    for share in (share for row in rows for share in row["others"]):
        timing.refuse({"average": None, "others": share}, "meanwhile")
    assert record["rounds"] >= timing.ROUNDS


def test_processes_did_the_same_work():
    groups = loaded(RECORDS["scaling"])["groups"]
    for group in (rows["rows"] for name, rows in groups.items() if name.startswith("processes")):
        assert group["1"]["train_elbo"] == pytest.approx(group["2"]["train_elbo"], abs=0.05)


CELLS = json.loads((ROOT / "book" / "larger_runs.ipynb").read_text(encoding="utf-8"))["cells"]
TEXT = "\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
PRINTED = "".join(
    "".join(output.get("text", ""))
    for cell in CELLS
    if cell["cell_type"] == "code"
    for output in cell["outputs"]
)


def spread(values, digits=2):
    return f"{min(values):.{digits}f}–{max(values):.{digits}f}"


def times(row, base):
    """The ratio of two rows, as the page prints it."""
    found = timing.ratio(row["values"], base["values"])
    pairs = [a / b for a, b in zip(row["values"], base["values"], strict=True)]
    assert found["of_medians"] == pytest.approx(row["median"] / base["median"], abs=1e-3)
    return f"{row['median'] / base['median']:.2f} ({spread(pairs)})"


def rows_of(name, group):
    return RECORDS[name]["groups"][group]["rows"]


def test_the_page_prints_what_the_files_hold():
    for record in RECORDS.values():
        assert f"{record['command']}   # {record['date']}\n" in PRINTED
        machine = f"{record['machine']['processor']}, {record['machine']['cores']} cores"
        assert f"{machine}, {record['rounds']} rounds\n" in PRINTED
    rows = rows_of("speed", "one epoch")
    for name, row in rows.items():
        seconds = f"{row['median']:.2f} ({spread(row['values'])}) s"
        assert f"{name:13} {seconds}, {times(row, rows['ours'])} times ours\n" in PRINTED
    for name in ("by_hand", "matmuls"):
        assert f"fit takes {times(rows['ours'], rows[name])} times {name}\n" in PRINTED
    for name in (*speed.PEERS, "plain"):
        pairs = zip(rows["ours"]["values"], rows[name]["values"], strict=True)
        wins, n = sum(a < b for a, b in pairs), RECORDS["speed"]["rounds"]
        tosses = [sum(toss) for toss in itertools.product((0, 1), repeat=n)]
        coin = sum(heads >= wins for heads in tosses) / len(tosses)
        assert f"against {name}: in {wins} of {n} rounds (a coin: {coin:.2f})\n" in PRINTED
    for n, row in rows_of("scaling", "images").items():
        assert f"{int(n):6,} images: {row['median']:.2f} s, each " in PRINTED
    for batch in scaling.BATCHES:
        rows = rows_of("scaling", f"processes, batches of {batch}")
        said = f"batches of {batch}: two processes take {times(rows['2'], rows['1'])}\n"
        assert said in PRINTED
    two = times(rows_of("scaling", SMALL)["2"], rows_of("scaling", "images")["60000"])
    assert f"and, with batches of 128, {two} of one with two threads\n" in PRINTED
    for count, row in rows_of("scaling", "samples").items():
        memory = f"{row['median']:.0f} ({spread(row['values'], 0)}) MiB"
        assert f"K = {int(count):6,}: {memory}; all outputs " in PRINTED


def test_the_page_says_whether_the_machine_was_idle():
    for record in RECORDS.values():
        if record["load"]["before"] is None:
            assert "whether the machine was idle was not recorded\n" in PRINTED
        else:
            rows = [row for group in record["groups"].values() for row in group["rows"].values()]
            most = max(share for row in rows for share in row["others"])
            before = record["load"]["before"]["average"]
            said = f"load average before: {before}; other programs: {most} of a core, the most\n"
            assert said in PRINTED


def of_medians(name, group, row):
    return rows_of(name, group)[row]["times_base"]["of_medians"]


def undecided(name):
    """Some rounds went one way, some the other."""
    times = rows_of("speed", EPOCH)[name]["times_base"]
    return times["min"] < 1 < times["max"]


EPOCH, SMALL, LARGE = "one epoch", "processes, batches of 128", "processes, batches of 1024"
CLAIMS = {
    "`fit` needs less time than pythae, Pyro and a loop in the style of PyTorch's example": (
        lambda: all(of_medians("speed", EPOCH, name) > 1 for name in speed.PEERS)
    ),
    "In the medians `fit` takes less time than pythae, Pyro and the example's loop": lambda: all(
        of_medians("speed", EPOCH, name) > 1 for name in speed.PEERS
    ),
    "and more than twice the time of its matrix products": lambda: (
        rows_of("speed", EPOCH)["ours"]["median"] > 2 * rows_of("speed", EPOCH)["matmuls"]["median"]
    ),
    "between it and a plain loop the rounds do not decide": lambda: undecided("plain"),
    "Its row and its count leave open which of the two is faster": lambda: undecided("plain"),
    "Other programs on this machine used next to nothing meanwhile, and still the rounds of `fit` "
    "differ": lambda: (
        max(share for row in rows_of("speed", EPOCH).values() for share in row["others"]) < 1 / 20
        and rows_of("speed", EPOCH)["ours"]["max"] > 1.2 * rows_of("speed", EPOCH)["ours"]["min"]
    ),
    "read the digits as they do by themselves, one by one; the others take rows of a tensor": (
        lambda: "read the digits as they do by themselves; Pyro" in RECORDS["speed"]["work"]
    ),
    "half the difference between a run of three epochs and a run of one": lambda: (
        "half the difference between a run of three epochs and a run of one"
        in RECORDS["scaling"]["work"]
    ),
    "A chunk is 4,000 rows, here 40 samples of 100 images: every {math}`K` below exceeds it": (
        lambda: (
            inspect.signature(importance_log_likelihood).parameters["chunk"].default == 40 * 100
            and min(scaling.SAMPLES) > 40
        )
    ),
    "An epoch of all 60,000 digits takes seconds on two cores": lambda: (
        timing.IMAGES == 60_000
        and RECORDS["speed"]["machine"]["cores"] == 2
        and 1 < rows_of("speed", EPOCH)["ours"]["median"] < 60
    ),
    "the same network (784–400–20), the same 60,000 digits, batches of 128, two threads": lambda: (
        (speed.HIDDEN, speed.LATENT, speed.BATCH) == (400, 20, 128)
        and all(row["threads"] == 2 for row in rows_of("speed", EPOCH).values())
        and "two epochs of which the second is timed" in RECORDS["speed"]["work"]
    ),
    "more than a twentieth of a core": lambda: timing.OTHERS == 1 / 20,
    "A second process with a core of its own pays with large batches only": lambda: (
        of_medians("scaling", SMALL, "2") > 1 > of_medians("scaling", LARGE, "2")
    ),
    "With batches of 128 two processes are slower than one, with batches of 1,024 they are "
    "faster": lambda: of_medians("scaling", SMALL, "2") > 1 > of_medians("scaling", LARGE, "2"),
    "the most memory that a process held for 100 images": lambda: (
        "log p(x) of 100 images" in RECORDS["scaling"]["work"]
    ),
    "For a hundred times the samples the process needs less than twice the memory": lambda: (
        of_medians("scaling", "samples", "10000") < 2
    ),
    "The rounds of one {math}`K` differ among themselves": lambda: any(
        row["max"] > 1.05 * row["min"] for row in rows_of("scaling", "samples").values()
    ),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_the_page_claims_of_the_timings_is_in_the_files(claim):
    assert claim in " ".join(TEXT.split()) and CLAIMS[claim]()


def test_the_figure_is_what_its_description_says():
    alt = next(
        cell["metadata"]["mystnb"]["image"]["alt"] for cell in CELLS if "mystnb" in cell["metadata"]
    )
    images = rows_of("scaling", "images")
    assert list(images) == ["5000", "15000", "60000"]
    assert "5,000, 15,000 and 60,000 images" in alt
    assert "rises for batches of 128, and one that falls for batches of 1024" in alt
    for group, rises in ((SMALL, True), (LARGE, False)):
        one, two = (rows_of("scaling", group)[count]["median"] for count in ("1", "2"))
        assert (one < two) is rises
