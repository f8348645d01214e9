"""What the build adds to Sphinx, and the scripts that store and reseed chapters."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import load
from nbformat.v4 import new_code_cell, new_notebook, new_output

BOOK = Path(__file__).resolve().parents[2] / "book"


git_remote = load("book/_ext/git_remote")
store = load("book/_tools/store")
seeds = load("book/_tools/seeds")


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/owner/book.git", "https://github.com/owner/book"),
        ("https://someone:secret@github.com/owner/book", "https://github.com/owner/book"),
        ("git@github.com:owner/book.git", "https://github.com/owner/book"),
        ("ssh://git@gitlab.com:22/owner/my.book/", "https://gitlab.com/owner/my.book"),
        ("/srv/git/book.git", None),
        ("file:///srv/git/github.com/book", None),
        ("https://git.example.org/owner/book.git", None),
        ("https://example.org/github.com/owner/book", None),
        ("", None),
    ],
)
def test_only_a_public_remote_gets_on_a_page_and_never_its_token(remote, address):
    assert git_remote.public_address(remote) == address


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "launch_buttons": {"binderhub_url": "https://mybinder.org"},
            "repository_url": "https://github.com/owner/book",
            "repository_branch": "main",
        },
    ],
)
def test_a_lab_gets_a_link_where_the_chapter_can_be_launched(options):
    context = {"body": '<p class="vae-lab">A lab.</p><p>Text.</p>'}
    git_remote.launch_labs(
        SimpleNamespace(config=SimpleNamespace(html_theme_options=options)),
        "book/name",
        "page.html",
        context,
        None,
    )
    address = "https://mybinder.org/v2/gh/owner/book/main?urlpath=lab/tree/book/name.ipynb"
    link = f' <a href="{address}">Launch this chapter in Binder.</a>'
    assert context["body"] == f'<p class="vae-lab">A lab.{link if options else ""}</p><p>Text.</p>'


def stored(*outputs):
    return new_notebook(cells=[new_code_cell("run()", outputs=list(outputs))])


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (printed("<Linear at 0x7f3a2b1c>"), "a memory address"),
        (printed("saved to /home/me/model.safetensors"), "a path of this machine"),
        (printed("lib/python3.11/site-packages/torch"), "a path of this machine"),
        (printed("UserWarning: old name"), "a warning"),
        (printed("done at 12:04:59"), "a time of day"),
        (printed("kl_posterior -0.0000, after"), "a zero whose sign is chance"),
        (printed("1 of 5", name="stderr"), "text on stderr"),
        (new_output("error", ename="ValueError", evalue="no"), "an error"),
        (
            new_output("display_data", data={"text/html": "<p>/Users/me</p>"}),
            "a path of this machine",
        ),
    ],
)
def test_what_differs_elsewhere_is_not_stored(output, reason):
    (problem,) = store.problems(stored(printed("fine"), output))
    assert "run()" in problem and reason in problem


@pytest.mark.parametrize(
    "text",
    [
        "nats/image: 101.2",
        "see https://example.org/home/page",
        "ratio 3:1",
        "p(x|z) / q(z|x)",
        "0.0000 and -0.05, 10-0",
        'src="data:image/png;base64,/home/0xabcdef0"',
    ],
)
def test_what_is_the_same_everywhere_is_stored(text):
    assert store.problems(stored(printed(text))) == []


def test_clean_leaves_no_trace_of_the_run():
    view = new_output(
        "display_data",
        data={store.WIDGET: {"model_id": "random"}, "text/plain": "IntSlider(value=3)"},
    )
    notebook = stored(view)
    notebook.metadata |= {
        "widgets": {"state": 1},
        "language_info": {"name": "python", "version": "3.11.7"},
    }
    notebook.cells[0].metadata["execution"] = {"iopub.status.busy": "now"}
    cleaned = store.clean(notebook)
    assert cleaned.metadata == {
        "language_info": {"name": "python"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    }
    assert cleaned.cells[0].metadata == {}
    assert cleaned.cells[0].outputs[0].data == {"text/plain": "IntSlider(value=3)"}


def test_a_chapter_that_is_refused_changes_no_file(tmp_path, monkeypatch):
    executed = {"good.ipynb": stored(printed("fine")), "bad.ipynb": stored(printed("0x7f3a2b1c"))}
    for name in executed:
        (tmp_path / name).write_text("as it was")
    monkeypatch.setattr(store, "execute", lambda path: executed[path.name])
    with pytest.raises(SystemExit, match=r"bad.ipynb: cell 0 .* a memory address"):
        store.main([str(tmp_path / name) for name in executed])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        executed, "as it was"
    )


def test_two_runs_store_the_same_bytes(tmp_path):
    import nbformat

    path = tmp_path / "chapter.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("print(6 * 7)", id="a")]), path)
    store.main([str(path)])
    first = path.read_bytes()
    store.main([str(path)])
    assert path.read_bytes() == first and b"42" in first


def seeded(*sources):
    return new_notebook(cells=[new_code_cell(source) for source in sources])


def test_another_seed_takes_the_place_of_the_only_one():
    notebook = seeds.reseeded(
        seeded("import torch\ntorch.manual_seed(0)", "torch.Generator().manual_seed(0)"), 7
    )
    assert [cell.source.split(".")[-1] for cell in notebook.cells] == [
        "manual_seed(7)",
        "manual_seed(0)",
    ]
    for sources in ([], ["torch.manual_seed(0)", "torch.manual_seed(0)"]):
        with pytest.raises(ValueError, match=r"expected one torch.manual_seed"):
            seeds.reseeded(seeded(*sources), 7)


@pytest.mark.slow
def test_an_assert_that_holds_for_some_seeds_alone_is_named(tmp_path, capsys):
    import nbformat

    path = tmp_path / "chapter.ipynb"
    nbformat.write(
        seeded("import torch\nseed = torch.manual_seed(0).initial_seed()", "assert seed != 2"), path
    )
    with pytest.raises(SystemExit, match="1 of 3 runs failed"):
        seeds.main(["--seeds", "3", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("every assert holds") for line in lines] == [True, False, True]
    assert "AssertionError (assert seed != 2)" in lines[1]
