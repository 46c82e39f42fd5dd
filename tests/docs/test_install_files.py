"""What lies in install/, read and not built: images that need no network and no root, a recipe that asks for what
pyproject.toml asks for; and that no page installs BLEEP from an index."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml
from packaging.requirements import Requirement
from project_text import ROOT, project_files, text_of

PROJECT = tomllib.loads(text_of("pyproject.toml"))["project"]
IMAGES = ("install/Dockerfile", "install/bleep.def")
CONDA = {"matplotlib": "matplotlib-base", "openslide-bin": "openslide"}  # what conda-forge calls them
INDEX = re.compile(r"(?:pipx?|uv|uvx|conda|mamba)\s[^\n`|]*\bbleep-cli(?!\S*\.whl)|pypi\.org/\S*bleep")


def instructions() -> list[tuple[str, str]]:
    """(instruction, what follows) of the Dockerfile; a line that ends in a backslash goes on."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text_of("install/Dockerfile"), flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word]


def commands(image: str) -> Iterator[str]:
    """What is run while an image is made."""
    if image == "install/Dockerfile":
        yield from (one for word, rest in instructions() if word == "RUN" for one in rest.split(" && "))
    else:
        yield from (line.strip() for line in section("post").splitlines() if line.strip())


def section(name: str) -> str:
    """A section of the Apptainer definition."""
    return re.split(r"^%\w+.*\n", text_of("install/bleep.def").split(f"%{name}\n")[1], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_installs_the_lock_by_its_hashes_and_then_our_wheel_without_an_index(image: str) -> None:
    run = list(commands(image))
    installs = [one.split("pip install ")[1] for one in run if "pip install" in one]
    lock, wheel = installs
    assert "--require-hashes" in lock
    assert wheel.endswith("/wheels/bleep_cli-*.whl") and "--no-deps" in wheel
    assert all("--no-index" in one for one in installs)
    assert not [one for one in run if re.search(r"\b(curl|wget|apt-get|git)\b|https?://", one)]
    (name,) = re.findall(r"-r /wheels/(\S+)", lock)
    assert (ROOT / "requirements" / name).is_file()
    python = re.search(r"-(\d\.\d+)\.txt", name)
    assert python is not None
    assert f"python:{python[1]}-slim" in text_of(image)  # wheels of that Python


def test_the_container_is_slim_and_its_user_is_not_root() -> None:
    last = max(n for n, (word, _) in enumerate(instructions()) if word == "FROM")
    final = dict(instructions()[last:])
    assert re.fullmatch(r"python:\d\.\d+-slim-\w+", final["FROM"])
    assert int(final["USER"].split(":")[0]) > 0
    assert final["ENTRYPOINT"] == '["bleep"]'
    assert "RUN" not in final  # what was needed to install stays in the stage before
    assert not {"EXPOSE", "ADD", "VOLUME"} & {word for word, _ in instructions()}


def test_both_images_stand_on_the_same_base() -> None:
    bases = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    assert bases == set(re.findall(r"^From: (\S+)$", text_of("install/bleep.def"), re.MULTILINE))


def test_the_definition_has_the_sections_that_apptainer_knows() -> None:
    heads = re.findall(r"^%(\w+)$", text_of("install/bleep.def"), re.MULTILINE)
    assert heads == ["files", "post", "environment", "runscript", "test"]
    assert section("runscript").strip() == 'exec bleep "$@"'
    assert section("files").split() == ["wheels", "/wheels"]


def test_the_recipe_asks_for_what_the_project_asks_for() -> None:
    recipe = yaml.safe_load(text_of("install/conda/recipe.yaml"))
    extras = PROJECT["optional-dependencies"]
    wanted = {}
    for one in map(Requirement, [*PROJECT["dependencies"], *extras["cpu"], *extras["build"]]):
        wanted[CONDA.get(one.name, one.name)] = str(one.specifier)
    wanted["openslide"] = ">=4.0.0"  # the library itself, whose builds are counted in openslide-bin only
    asked = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert asked.pop("python") == PROJECT["requires-python"]
    assert asked == wanted
    assert str(recipe["context"]["version"]) == PROJECT["version"]
    scripts = dict(line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert scripts == PROJECT["scripts"]
    assert recipe["about"]["license"] == PROJECT["license"]


@pytest.mark.parametrize("file", [*IMAGES, "install/conda/recipe.yaml"])
def test_what_was_never_built_says_so(file: str) -> None:
    assert "Not built by the project's own checks" in text_of(file)
    assert file in text_of("docs/install.md")


def test_no_line_takes_bleep_from_an_index() -> None:
    """docs/releasing.md tells of the day when there is one."""
    texts = {f for f in project_files() if f.endswith((".md", ".ipynb", ".yml", ".def", "Dockerfile", "Makefile"))}
    texts |= {f for f in project_files() if f.startswith(("bleep_cli/", "train/")) and f.endswith(".py")}
    assert len(texts) > 100
    texts.remove("docs/releasing.md")
    assert not [f"{f}: {m[0]}" for f in sorted(texts) for m in INDEX.finditer(text_of(f))]


@pytest.mark.parametrize(
    "line",
    [
        "pip install bleep-cli",
        "pip install 'bleep-cli[cpu]'",
        "uv pip install --pre bleep-cli",
        "pipx run bleep-cli",
    ],
)
def test_such_a_line_would_be_found(line: str) -> None:
    assert INDEX.search(line)
    assert not INDEX.search(line.replace("bleep-cli", "wheels/bleep_cli-*.whl"))
