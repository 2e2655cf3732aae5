"""What tests of several files begin with: the real service, and the bundles it starts with."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.tests.service import REPOSITORY, Service


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default bundle, and the same under another version."""
    folder, source = tmp_path_factory.mktemp("models"), REPOSITORY / "models" / "default"
    for name in ("default", "other"):
        (folder / name).mkdir()
        for file in source.iterdir():
            (folder / name / file.name).symlink_to(file)
    manifest = json.loads((source / "manifest.json").read_text())
    (folder / "other" / "manifest.json").unlink()
    changed = {**manifest, "name": "other", "version": "other"}
    (folder / "other" / "manifest.json").write_text(json.dumps(changed))
    return folder


@pytest.fixture
def service(models: Path, tmp_path: Path) -> Iterator[Service]:
    made = Service(models, tmp_path / "data")
    made.start()
    yield made
    made.stop()
