"""--ablate: which entries it adds, and what it says when the libraries are not built."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import ablation
from cli.errors import UserError
from results.ablation import VARIANTS


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "lib" / "ablation"
    folder.mkdir(parents=True)
    for name in VARIANTS:
        (folder / f"lib{name}.so").write_bytes(b"\x7fELF")
    monkeypatch.setenv("HEAPARENA_BUILD", str(tmp_path))
    return folder


def test_every_variant_is_entered_once(libraries: Path) -> None:
    names = [word.partition("=")[0] for word in ablation.words([])]
    assert names == ["gomalloc", *VARIANTS]
    assert f"gomalloc-no-mcache={libraries}/libgomalloc-no-mcache.so" in ablation.words([])
    given = ablation.words(["system", "gomalloc", "gomalloc-linear", "gomalloc-no-tiny=/mine.so"])
    assert given[:4] == ["system", "gomalloc", "gomalloc-linear", "gomalloc-no-tiny=/mine.so"]
    assert len(given) == 2 + len(VARIANTS)


def test_what_is_not_built_is_named(libraries: Path) -> None:
    (libraries / "libgomalloc-no-stack.so").unlink()
    with pytest.raises(UserError, match="no-stack.so is not built; run `cmake"):
        ablation.words([])
