"""Every code block of README.md and docs/*.md: run in a small made-up world, or known not to run here and for what
reason; and even then its commands, options, settings and imports have to be there."""

from __future__ import annotations

import ast
import doctest
import glob
import importlib
import json
import re
import shutil
import tomllib
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from page_blocks import PAGES, Block, blocks, commands, spans
from PIL import Image
from project_text import PACKAGES, ROOT, text_of
from typer.testing import CliRunner

from bleep_cli import api, cli
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.errors import SlideError
from bleep_cli.types import F64

# What a command line holds, and why it is not run. All others are: in the world that `world` makes.
NOT_RUN = {
    r"^make (demo|test|site)$": ".ci/run runs it",
    r"^make wheelhouse|^python3\.11 -m |^cp requirements/|^bleep/bin/": "tests/docs/test_wheelhouse.py runs it",
    r"^(python -m )?pip (install|download) ": "packages are installed from an index",
    r"^(docker|apptainer|id) ": "there is no builder here",
    r"--scheduler|^dask |^taskset ": "needs a cluster; tests/runtime/cluster have a small one",
    r"^bleep view ": "serves until Ctrl-C; tests/runtime/viewer",
    r"^python -m napari_spatialdata ": "opens a window",
    r"--backbone |^unzip ": "needs weights that are not shipped; tests/runtime/fitting",
    r"^bleep build-reference (train|cohorts)/|^python benchmarks/": "needs data that are not shipped, and hours",
    r"^bleep build-reference cohort\.toml -o bundle\.zarr$": "takes minutes; tests/docs/test_tutorial.py runs it",
    r"^(bleep-train|torchrun) ": "needs torch, data that are not shipped, or hours; tests/train",
    r"^(curl|tar|sha256sum|mkdir|gunzip|sed|cp \S+raw/|python - )": "gathers data that are not shipped",
    r"^bleep predict \S+ --mpp 0\.304 ": "needs data that are not shipped",
    r"^bleep reference sign |--ref-key |^(ssh-keygen|echo) ": "needs a key; tests/runtime/signing",
    r" own\.toml | --level-of ": "needs a section of one's own; tests/runtime/prediction/test_level.py",
}
RUN_ELSEWHERE = {"docs/tutorial.md": "tests/docs/test_tutorial.py", "docs/api.md": "tests/docs/test_api.py"}
PYTHON_NOT_RUN = {
    "docs/cluster.md": "needs Slurm",
    "docs/own-backbone.md": "needs weights that are not shipped",
}
# What pages say, and what it is called in the made-up world.
STANDS_FOR = {
    **{"CYP3A4": "GENE0", "GLUL": "GENE1", "COL3A1": "GENE2", "ERBB2": "GENE0", "ESR1": "GENE1"},
    **{"CD8A": "GENE2", "MKI67": "GENE3", "slide_12x7": "slide_1x7"},
    **{"P1,P2": "DS0,DS1", "P3": "DS2", "results/*.h5ad": "results/s[1-4].h5ad", "0,2527": "4,0"},
    **{"--mpp\0000.5": "--mpp\0004"},
}
CODE = ("bash", "console", "python")
INNER = {"docker": "bleep", "apptainer": "bleep.sif", "torchrun": "bleep_train"}
"""Programs that run one of ours, by the word that stands for it."""
OURS = ("bleep", "bleep-train")
DIRECTIVES = re.compile(r'"(bleep [^"]+)"')  # of workflow languages
STUDY_METHODS = ("shuffled", "shifted", "external")


@cache
def app(name: str) -> Any:
    module = importlib.import_module({"bleep": "bleep_cli.cli", "bleep-train": "bleep_train.__main__"}[name])
    return typer.main.get_command(module.app)


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """(name, parameters) of the command that a line of ours gives; a usage error for what it does not know."""
    command, rest, context = app(words[0]), words[1:], None
    names = [words[0]]
    while True:
        context = command.make_context(names[-1], list(rest), parent=context)
        if not hasattr(command, "resolve_command"):
            return " ".join(names), context.params
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        names.append(name)


def ours_in(words: list[str]) -> list[str] | None:
    """The line of ours that a command gives, itself or by another program: None where there is none."""
    if words[0] in OURS:
        return words
    if words[0] in INNER and INNER[words[0]] in words and "build" not in words:
        rest = words[words.index(INNER[words[0]]) + 1 :]
        return [{"torchrun": "bleep-train"}.get(words[0], "bleep"), *rest]
    return None


def check_line(words: list[str]) -> None:
    """Commands, options and their values as the apps have them; settings and methods as training has them."""
    name, given = parsed(words)
    if name.startswith("bleep-train") and given.get("set_"):
        from bleep_train.config.toml import load_config

        load_config(given.get("config") or "default", given["set_"], student=name == "bleep-train distill")
    if name == "bleep-train evaluate" and given["methods"]:
        from bleep_train.methods.by_name import find_method

        for method in given["methods"].split(","):
            if method.partition(":")[0] not in STUDY_METHODS:
                find_method(method)


def check_other(words: list[str]) -> None:
    """What a page asks of the project's own programs, targets and extras is there."""
    if words[0] == "python" and words[1].endswith(".py"):
        text = (ROOT / words[1]).read_text(encoding="utf-8")
        assert not [word for word in words[2:] if word.startswith("--") and f'"{word.split("=")[0]}"' not in text]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", text_of("Makefile"), re.MULTILINE)
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    for asked in re.findall(r"^\.\[([\w,]+)\]$", "\n".join(words), re.MULTILINE):
        assert set(asked.split(",")) <= set(extras)


def check_python(text: str) -> None:
    """It compiles, what it imports of ours is there, and so is every line of ours that it starts."""
    if ">>>" in text:
        text = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in PACKAGES:
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.partition(".")[0] not in PACKAGES or importlib.import_module(alias.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "bleep_cli":
            assert hasattr(importlib.import_module("bleep_cli"), node.attr), ast.unparse(node)
        elif isinstance(node, ast.List) and node.elts and getattr(node.elts[0], "value", None) in OURS:
            words = [getattr(element, "value", "X") for element in node.elts]
            parsed([word if isinstance(word, str) else "X" for word in words])


def reasons(words: list[str]) -> list[str]:
    """Patterns of ``NOT_RUN`` that a command matches."""
    return [pattern for pattern in NOT_RUN if re.search(pattern, " ".join(words))]


def page_code(page: str) -> bool:
    return any(block.language in CODE for block in blocks(page))


@pytest.mark.parametrize("page", PAGES)
def test_whatever_a_block_names_is_there(page: str, tmp_path: Path) -> None:
    for block, words in commands(page, tmp_path / "dry"):
        ours = ours_in(words)
        try:
            check_line(ours) if ours else check_other(words)
        except Exception as error:
            raise AssertionError(f"{block}: {' '.join(words)}: {error}") from error
    for block in blocks(page):
        try:
            check_block(block)
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error


def check_block(block: Block) -> None:
    match block.language:
        case "python":
            check_python(block.text)
        case "bash" | "console":  # programs that a shell is given to read
            for program in re.findall(r"^python - .*<<'(\w+)'\n((?:.*\n)*?)\1$", block.text, re.MULTILINE):
                check_python(program[1])
        case "toml":
            assert tomllib.loads(block.text)
        case "yaml":
            assert yaml.safe_load(block.text)
        case "snakemake" | "groovy":
            lines = DIRECTIVES.findall(block.text)
            assert lines
            for line in lines:
                parsed(line.split())
        case _:
            assert block.language in ("text", "r")  # tests/runtime/outputs/test_r.py


@pytest.mark.parametrize("page", [page for page in PAGES if any(True for _ in spans(page))])
def test_options_in_running_text_are_those_of_their_command(page: str) -> None:
    for words in spans(page):
        command = app(words[0])
        rest = words[1:]
        while hasattr(command, "commands") and rest and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        known.add("--help")
        unknown = {word.split("=")[0].strip("[](),.") for word in rest if re.match(r"\[?--?[a-z]", word)} - known
        assert not unknown, f"{page}: {' '.join(words)}"
        assert not hasattr(command, "commands") or not rest or rest[0].startswith(("-", "[")), " ".join(words)


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    write_cohort: Callable[..., Path],
    make_encoders: Callable[..., Encoders],
    small_bundle: Path,
    query_slide: Path,
) -> Path:
    """A folder with what pages speak of: slides, references, sections, tables, gene sets, a result."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("slide.svs", "slide.tif", "A/scan.svs", *(f"slides/s{i}.svs" for i in range(1, 5))):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(query_slide, folder / name)
    (folder / "B").mkdir()
    Image.open(query_slide).save(folder / "B" / "scan.jpg", quality=95)
    (folder / "slides.csv").write_text(in_the_world(block_after("docs/clinical.md", "slide;name;mpp;mask")))
    write_cohort(folder)
    write_cohort(folder / "more", ("st",), first_seed=7)
    (folder / "more" / "cohort.toml").rename(folder / "more" / "new.toml")
    for file in (folder / "more").iterdir():
        shutil.copy(file, folder)
    make_encoders().save(folder / "encoders")
    for name in ("bundle.zarr", "ours.zarr"):
        shutil.copytree(small_bundle, folder / name)
    api.write(api.build_reference(folder / "new.toml", folder / "encoders"), folder / "theirs.zarr")
    prediction = api.Predictor(small_bundle).predict(folder / "slide.svs")
    for name in ("slide.h5ad", "slide.zarr"):
        api.write(prediction, folder / "results" / name)
    api.write(prediction, folder / "results" / "slide.bleep.ome.tif", format="ometiff")
    shutil.copy(folder / "results" / "slide.h5ad", folder / "results" / "slide.cellxgene.h5ad")
    write_tables(folder, prediction.grid.centre_l0)
    return folder


@pytest.fixture
def world(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; a page leaves what it makes to the next."""
    monkeypatch.chdir(made)
    monkeypatch.delenv("BLEEP_REF", raising=False)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return made


def block_after(page: str, first: str) -> str:
    (found,) = [block.text for block in blocks(page) if block.text.startswith(first)]
    return found


def write_tables(folder: Path, centre_l0: F64) -> None:
    """Genes, a gene set, positions, groups of patients, and outlines of all of the tiles, halved."""
    (folder / "list.txt").write_text("GENE0\nGENE1\nGENE2\n")
    (folder / "hallmark.gmt").write_text("HALLMARK_A\t\tGENE0\tGENE1\tGENE2\n")
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"]
    rows += [f"S{i},1,{i},0,{y},{x}" for i, (x, y) in enumerate(centre_l0[:3].tolist())]
    (folder / "outs" / "spatial").mkdir(parents=True)
    (folder / "outs" / "spatial" / "tissue_positions.csv").write_text("\n".join(rows) + "\n")
    rows = [f"s{i}.svs,P{i},{'responder' if i % 2 else 'non-responder'}" for i in range(1, 5)]
    (folder / "groups.csv").write_text("\n".join(["slide,patient,group", *rows]))
    (left, top), (right, bottom) = centre_l0.min(axis=0) - 8, centre_l0.max(axis=0) + 8
    middle = (left + right) / 2
    features = [
        {
            "type": "Feature",
            "properties": {"classification": {"name": name}},
            "geometry": {"type": "Polygon", "coordinates": [[[a, top], [b, top], [b, bottom], [a, bottom]]]},
        }
        for name, a, b in (("Tumor", left, middle), ("Stroma", middle, right))
    ]
    drawn = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / "outlines").mkdir()
    for file in ("A/outline.geojson", *(f"outlines/s{i}.geojson" for i in range(1, 5))):
        (folder / file).write_text(drawn)


def in_the_world(text: str) -> str:
    """A text of a page with its names replaced by those of the made-up world."""
    for said, stands in STANDS_FOR.items():
        text = re.sub(rf"(?<!\w){re.escape(said)}(?!\w)", stands, text)
    return text


def expanded(words: list[str]) -> Iterator[str]:
    """Words as a shell gives them where the files are: patterns replaced by the files that they name."""
    for word in in_the_world("\0".join(words)).split("\0"):
        found = sorted(map(str, Path().glob(word))) if glob.has_magic(word) else []
        yield from found or [word]


def run_line(words: list[str]) -> None:
    """Runs a line of ours in this process. Lines of a block are alternatives: each may replace what one wrote."""
    command = app("bleep")
    rest = words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    writes = words[1] != "inspect"  # but for the pictures of a cohort, and it refuses --force with anything else
    forced = ["--force"] if writes and any("--force" in parameter.opts for parameter in command.params) else []
    with warnings.catch_warnings(action="ignore"):  # as in a process of its own
        done = CliRunner().invoke(cli.app, [*words[1:], *forced])
    expected = {0, SlideError.exit_code} if words[1] == "qc" else {0}  # the slide is tiny: it may be called unfit
    assert getattr(done.exception, "exit_code", done.exit_code) in expected, f"{done.exception}\n{done.output}"


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN_ELSEWHERE and page_code(page)])
@pytest.mark.slow
def test_blocks_run(page: str, world: Path, tmp_path: Path) -> None:
    found = commands(page, tmp_path / "dry")
    names: dict[str, Any] = {}
    for block in blocks(page):
        for words in (words for of, words in found if of == block and not reasons(words)):
            assert words[0] == "bleep", f"{block}: {words[0]} is not run, and has no reason in NOT_RUN"
            try:
                run_line(list(expanded(words)))
            except Exception as error:
                raise AssertionError(f"{block}: {' '.join(words)}: {error}") from error
        if block.language == "python" and page not in PYTHON_NOT_RUN:
            with warnings.catch_warnings(action="ignore"):  # squidpy's own, of which there are new ones each year
                exec(compile(in_the_world(block.text), str(block), "exec"), names)


def test_every_reason_is_of_something_that_stands_on_a_page(tmp_path: Path) -> None:
    found = [words for n, page in enumerate(PAGES) for _, words in commands(page, tmp_path / str(n))]
    used = {pattern for words in found for pattern in reasons(words)}
    assert used == set(NOT_RUN)
    assert sum(not reasons(words) for words in found) > 30
    assert set(RUN_ELSEWHERE) | set(PYTHON_NOT_RUN) <= set(PAGES)
    text = "".join(block.text for page in PAGES for block in blocks(page))
    assert not [said for said in STANDS_FOR if said.replace("\0", " ") not in text]
    named = re.findall(r"tests/[\w/]+(?:\.py)?", " ".join([*NOT_RUN.values(), *RUN_ELSEWHERE.values()]))
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bleep predict slide.svs --reff x", "No such option: --reff"),
        ("bleep predct slide.svs", "No such command 'predct'"),
        ("bleep predict slide.svs --ref x -k many", "valid integer"),
        ("bleep cohort a.h5ad -o x", "Missing parameter: groups"),
        ("bleep-train train c.toml -o run --set optim.leers=3", "leers"),
        ("bleep-train evaluate c.toml -o x --methods ridge,rigde", "rigde"),
    ],
)
def test_a_wrong_line_would_be_found(line: str, words: str) -> None:
    with pytest.raises(Exception, match=re.escape(words)):
        check_line(line.split())


def test_a_wrong_block_would_be_found(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError):
        check_python("def f(:\n")
    with pytest.raises(AssertionError):
        check_python("from bleep_cli import prodict\n")
    with pytest.raises(AssertionError):
        check_python(">>> import bleep_cli\n>>> bleep_cli.prodict('a')\n")
    with pytest.raises(Exception, match="No such option: --reff"):
        check_python('run(["bleep", "predict", "--reff", name, *slides])\n')
    with pytest.raises(AssertionError):
        check_other(["make", "dmeo"])
    with pytest.raises(AssertionError):
        check_other(["python", "benchmarks/startup.py", "--repeat", "3"])
    with pytest.raises(AssertionError):
        check_other(["pip", "install", ".[cpu,biuld]"])
    assert reasons(["conda", "install", "x"]) == []


def test_a_shell_expands_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "export A='--set x=1'\nfor b in p q; do\n    bleep $A $b \\\n  -o $b\ndone\ntouch here | rm -r / &\n"
    page = f"```bash\n{text}```\n\n```console\n$ bleep one\nits output\nhead$ two\n```\n"
    monkeypatch.setattr("page_blocks.text_of", lambda _: page)
    found = commands("x.md", tmp_path / "dry")
    assert [words for block, words in found if block.language == "console"] == [["bleep", "one"], ["two"]]
    first = [words for block, words in found if block.language == "bash"]
    assert first[:2] == [["bleep", "--set", "x=1", b, "-o", b] for b in "pq"]
    assert sorted(first[2:]) == [["rm", "-r", "/"], ["touch", "here"]]
    assert [str(block) for block in blocks("x.md")] == ["x.md:2", "x.md:11"]
