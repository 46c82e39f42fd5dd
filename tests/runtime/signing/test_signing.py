"""A reference that is signed: by its key, of its content, in OpenSSH's format; anything else is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zarr

from bleep_cli import api, errors
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.storage.content_hash import content_sha256
from bleep_cli.bundle.storage.store import open_group
from bleep_cli.signing import openssh
from bleep_cli.signing.content import message, read_key, signature_of

NO_PROGRAM = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_bundle, tmp_path / "lab.zarr"))


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A private key by name, made where it is not there; its public one is beside it."""
    folder = tmp_path_factory.mktemp("keys")

    def made(name: str, kind: str = "ed25519", passphrase: str = "") -> Path:
        if not (folder / name).exists():
            words = ["-q", "-t", kind, "-N", passphrase, "-C", "a lab's key", "-f", folder / name]
            subprocess.run(["ssh-keygen", *words], check=True)
        return folder / name

    return made


def public(private: Path) -> Path:
    return private.with_name(f"{private.name}.pub")


def bleep(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bleep_cli.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@NO_PROGRAM
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_signed_reference_opens_with_its_key(bundle: Path, key: Callable[..., Path], kind: str) -> None:
    signed = api.sign_reference(bundle, key(kind, kind))
    assert signed.signature == bundle.with_name("lab.zarr.sig")
    found = open_bundle(bundle, key=public(key(kind)))
    assert found.verified and found.signed_by == signed.signed_by
    told = subprocess.run(["ssh-keygen", "-lf", public(key(kind))], capture_output=True, text=True, check=True)
    assert signed.signed_by in told.stdout.split()


@NO_PROGRAM
def test_any_of_several_keys_will_do(bundle: Path, key: Callable[..., Path], tmp_path: Path) -> None:
    signed = api.sign_reference(bundle, key("one"))
    several = tmp_path / "lab.pub"
    several.write_text(f"# who may sign\n\n{public(key('two')).read_text()}{public(key('one')).read_text()}")
    assert open_bundle(bundle, key=several).signed_by == signed.signed_by


@NO_PROGRAM
def test_the_tool_of_others_makes_and_checks_the_same_signature(
    bundle: Path, key: Callable[..., Path], tmp_path: Path
) -> None:
    """The two lines of docs/trust.md, without a bleep."""
    line = f"{open_bundle(bundle).content_sha256}\n".encode()
    by_hand = ["ssh-keygen", "-Y", "sign", "-f", key("one"), "-n", "bleep-reference"]
    made = subprocess.run(by_hand, input=line, capture_output=True, check=True).stdout
    signature_of(bundle).write_bytes(made)
    assert open_bundle(bundle, key=public(key("one"))).signed_by is not None
    signature_of(bundle).unlink()
    assert api.sign_reference(bundle, key("one")).signature.read_bytes() == made  # Ed25519 draws no numbers
    signers = tmp_path / "signers"
    signers.write_text(f"lab {public(key('one')).read_text()}")
    check = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "lab", "-n", "bleep-reference"]
    subprocess.run([*check, "-s", signature_of(bundle)], input=line, check=True)


@NO_PROGRAM
def test_what_is_not_signed_by_that_key_is_refused(bundle: Path, key: Callable[..., Path]) -> None:
    trusted = public(key("one"))
    with pytest.raises(errors.ReferenceError, match=r"^lab\.zarr is not signed: there is no lab\.zarr\.sig"):
        open_bundle(bundle, key=trusted)
    signed = api.sign_reference(bundle, key("two"))
    with pytest.raises(
        errors.ReferenceError, match=r"^lab\.zarr is signed by another key than ref_key: by SHA"
    ) as it:
        open_bundle(bundle, key=trusted)
    assert signed.signed_by in str(it.value)


@NO_PROGRAM
def test_another_content_is_refused_whatever_hash_it_states(bundle: Path, key: Callable[..., Path]) -> None:
    api.sign_reference(bundle, key("one"))
    attrs = zarr.open_group(bundle, mode="r+").attrs
    attrs["licence"] = "mine"
    with pytest.raises(errors.ReferenceError, match="is damaged, or part of it is missing: content hash"):
        open_bundle(bundle, key=public(key("one")))
    attrs["content_sha256"] = content_sha256(open_group(bundle)[0], attrs.asdict())  # it agrees with itself again
    with pytest.raises(errors.ReferenceError, match=r"^lab\.zarr\.sig is no signature of lab\.zarr as it is"):
        open_bundle(bundle, key=public(key("one")))
    with pytest.raises(errors.ReferenceError, match=r"^lab\.zarr\.sig is no signature of lab\.zarr as it is"):
        open_bundle(bundle, open_bundle(bundle).content_sha256, public(key("one")))


@NO_PROGRAM
def test_every_altered_signature_is_refused(bundle: Path, key: Callable[..., Path]) -> None:
    whole = api.sign_reference(bundle, key("one")).signature.read_bytes()
    body = whole.index(b"\n") + 1
    altered = [b"", whole[:100], whole[:-1].rpartition(b"\n")[0], b"\0" * 500, whole.replace(b"SSH", b"PGP")]
    for at in range(body, len(whole) - 30, 23):
        swapped = b"A" if whole[at : at + 1] != b"A" else b"B"
        altered += [whole[:at] + swapped + whole[at + 1 :]] if whole[at : at + 1] != b"\n" else []
    for each in altered:
        signature_of(bundle).write_bytes(each)
        with pytest.raises(errors.ReferenceError, match=r"is no signature of lab|is signed by another key"):
            open_bundle(bundle, key=public(key("one")))
    signature_of(bundle).write_bytes(whole + bytes(1 << 16))
    with pytest.raises(errors.ReferenceError, match=r"^lab\.zarr\.sig cannot be read \(lab\.zarr\.sig has more"):
        open_bundle(bundle, key=public(key("one")))


@NO_PROGRAM
def test_a_signature_for_another_purpose_is_refused(bundle: Path, key: Callable[..., Path]) -> None:
    line = message(open_bundle(bundle).content_sha256)
    of_git = ["ssh-keygen", "-Y", "sign", "-f", key("one"), "-n", "git"]
    signature_of(bundle).write_bytes(subprocess.run(of_git, input=line, capture_output=True, check=True).stdout)
    with pytest.raises(errors.ReferenceError, match="is no signature of lab"):
        open_bundle(bundle, key=public(key("one")))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no public key of OpenSSH"),
        ("ssh-ed25519", "is no public key of OpenSSH"),
        ("ssh-dss AAAA of old", "is no public key of OpenSSH"),
        ('cert-authority ssh-ed25519 AAAA"', "is no public key of OpenSSH"),
        ("ssh-ed25519 AAAA lab\nand a word", "is no public key of OpenSSH"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", r"is a private key; give the public one, lab\.pub"),
        (None, r"cannot be read \(lab: No such file"),
    ],
)
def test_what_is_no_public_key_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "lab").write_text(text)
    with pytest.raises(errors.UsageError, match=rf"^ref_key lab {told}"):
        read_key(tmp_path / "lab")


@NO_PROGRAM
def test_a_key_that_cannot_sign_leaves_nothing(
    bundle: Path, key: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle.parent / "no.key").write_text("no key")
    with pytest.raises(errors.UsageError, match=r"^key no\.key cannot sign \(.+\)$"):
        api.sign_reference(bundle, bundle.parent / "no.key")
    with pytest.raises(errors.UsageError, match=r"^key gone cannot sign \(.*No such file or directory\)$") as gone:
        api.sign_reference(bundle, bundle.parent / "gone")
    assert str(bundle.parent) not in str(gone.value)
    assert not signature_of(bundle).exists()
    first = api.sign_reference(bundle, key("one"))
    with pytest.raises(errors.OutputError, match=r"^lab\.zarr\.sig exists already; force replaces it$"):
        api.sign_reference(bundle, key("two"))
    assert api.sign_reference(bundle, key("two"), force=True).signed_by != first.signed_by
    monkeypatch.setattr(openssh.shutil, "which", lambda _: None)
    with pytest.raises(
        errors.DeviceError, match=r"^ssh-keygen, which makes and checks signatures, is not installed"
    ):
        open_bundle(bundle, key=public(key("two")))


@NO_PROGRAM
def test_a_program_that_cannot_run_is_no_verdict(
    bundle: Path, key: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container with a user that its system does not know, ssh-keygen ends before it looks at anything."""
    api.sign_reference(bundle, key("one"))
    (tmp_path / "ssh-keygen").write_text("#!/bin/sh\necho 'No user exists for uid 10001' >&2\nexit 255\n")
    (tmp_path / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        errors.DeviceError, match=r"^ssh-keygen, which .*, cannot run: No user exists for uid 10001$"
    ):
        open_bundle(bundle, key=public(key("one")))


@NO_PROGRAM
def test_an_open_bundle_takes_no_further_condition(
    bundle: Path, key: Callable[..., Path], query_slide: Path
) -> None:
    found = open_bundle(bundle)
    with pytest.raises(errors.UsageError, match="ref_key is of a bundle that is named by its path"):
        api.predict(query_slide, found, ref_key=public(key("one")))
    with pytest.raises(errors.UsageError, match="ref_sha256 is of a bundle that is named by its path"):
        api.qc(query_slide, found, ref_sha256=found.content_sha256)


@NO_PROGRAM
@pytest.mark.slow
def test_the_commands_sign_and_ask_for_it(
    bundle: Path, key: Callable[..., Path], query_slide: Path, tmp_path: Path
) -> None:
    asked = ("--ref-key", public(key("one")))
    predict = ("predict", query_slide, "--ref", bundle, "-o", tmp_path / "out", "--format", "h5ad", "--views", 1)
    inspected = ("inspect", bundle, "--verify"), ("inspect", bundle, "--genes", "all")
    for command in (predict, *inspected, ("qc", query_slide, "--ref", bundle)):
        refused = bleep(*command, *asked)
        assert (refused.returncode, refused.stdout) == (4, "")
        assert refused.stderr == "bleep: lab.zarr is not signed: there is no lab.zarr.sig beside it\n"
    assert not (tmp_path / "out").exists()
    done = bleep("reference", "sign", bundle, "--key", key("one"), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert record["content_sha256"] == open_bundle(bundle).content_sha256
    told = bleep("inspect", bundle, "--verify", *asked)
    assert told.returncode == 0 and f"  signed by {record['signed_by']}\n" in told.stdout
    done = bleep(*predict, *asked)
    assert done.returncode == 0 and len(list((tmp_path / "out").glob("*.h5ad"))) == 1, done.stderr
    other = bleep(*predict, "--force", "--ref-key", public(key("two")))
    assert other.returncode == 4
    assert other.stderr == f"bleep: lab.zarr is signed by another key than --ref-key: by {record['signed_by']}\n"
