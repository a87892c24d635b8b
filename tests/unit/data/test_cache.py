"""The token cache: found again only when nothing changed, rebuilt when damaged, safe for several writers."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from luthier.data import cache
from luthier.data.prepare import prepare
from luthier.data.report import DataReport
from luthier.errors import DataError
from luthier.reporter import Silent
from tests.unit.data.fake_template import FakeTemplate


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Listening(Silent):
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def say(self, message, level="info"):
        self.said.append((level, message))

    def heard(self, part: str, level: str = "info") -> bool:
        return any(part in message and level == at for at, message in self.said)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "train.csv"
    path.write_text("prompt,completion\n" + "".join(f"question {i},answer {i}\n" for i in range(20)))
    return path


def run(file: Path, template: FakeTemplate | None = None, **options):
    template = template or FakeTemplate()
    reporter = Listening()
    options = {"fraction": 0.2, "seed": 0, "model_max_length": 100, **options}
    return prepare([file], template=template, reporter=reporter, **options), template, reporter


def test_second_time_is_a_hit_and_equal(file):
    first, _, miss = run(file)
    second, template, hit = run(file)
    assert miss.heard("miss")
    assert hit.heard("hit")
    assert template.num_encoded == 0
    assert not first.report.cache_hit
    assert second.report.cache_hit
    assert second.train.fingerprint == first.train.fingerprint
    assert second.validation.fingerprint == first.validation.fingerprint
    assert second.report.fingerprint == first.report.fingerprint
    assert second.report.findings == first.report.findings
    assert second.train_conversations == first.train_conversations


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"fraction": 0.3},
        {"max_length": 50},
        {"overlong": "truncate"},
        {"limit": 19},
        {"format": "prompt_completion"},
        {"columns": {"prompt": "completion", "completion": "prompt"}},
        {"template": FakeTemplate(fingerprint="other")},
        {"template": FakeTemplate(words=("a", "c"))},
    ],
)
def test_every_input_is_part_of_the_key(file, change):
    run(file)
    _, template, reporter = run(file, **change)
    assert reporter.heard("miss")
    assert template.num_encoded > 0


def test_changed_file_code_and_libraries_miss(file, monkeypatch):
    run(file)
    text = file.read_text()
    file.write_text(text.replace("answer 3", "answer 4"))
    assert run(file)[2].heard("miss")
    file.write_text(text)
    assert run(file)[2].heard("hit")
    monkeypatch.setattr(cache, "DATA_CODE_VERSION", cache.DATA_CODE_VERSION + 1)
    assert run(file)[2].heard("miss")
    monkeypatch.undo()


def test_without_cache_nothing_is_written(file, own_cache):
    prepared, _, reporter = run(file, use_cache=False)
    assert len(prepared.train) > 0
    assert not own_cache.exists()
    assert not reporter.heard("cache")


@pytest.mark.parametrize("damaged", ["train/ids.npy", "validation/rows.npy", "report.json", "train/set.json"])
def test_damaged_entry_is_rebuilt(file, own_cache, damaged):
    first, _, _ = run(file)
    (entry,) = (own_cache / "tokens").iterdir()
    content = (entry / damaged).read_bytes()
    (entry / damaged).write_bytes(content[:-3] + bytes(b ^ 1 for b in content[-3:]))
    second, template, reporter = run(file)
    assert template.num_encoded > 0
    assert reporter.heard("made again", "warning")
    assert second.report.fingerprint == first.report.fingerprint
    assert run(file)[2].heard("hit")
    assert [p.name for p in (own_cache / "tokens").iterdir()] == [entry.name]


def test_report_of_other_tokens_is_damage(file, own_cache):
    run(file)
    run(file, seed=1)
    one, two = (own_cache / "tokens").iterdir()
    (one / "report.json").write_text((two / "report.json").read_text())
    with pytest.raises(DataError, match="other tokens"):
        cache.find(one.name)


def test_second_writer_leaves_an_intact_entry(file, own_cache):
    prepared, _, _ = run(file)
    entry = cache.Entry(prepared.train, prepared.validation, prepared.report)
    key = prepared.report.cache_key
    before = (own_cache / "tokens" / key / "train" / "ids.npy").stat().st_ino
    cache.keep(key, {}, entry)
    assert (own_cache / "tokens" / key / "train" / "ids.npy").stat().st_ino == before
    assert [p.name for p in (own_cache / "tokens").iterdir()] == [key]


def test_writers_at_the_same_time(file, own_cache):
    prepared, _, _ = run(file, use_cache=False)
    entry = cache.Entry(prepared.train, prepared.validation, prepared.report)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.keep("key", {}, entry), range(16)))
    found = cache.find("key")
    assert found is not None
    assert found.train.fingerprint == prepared.train.fingerprint
    assert [p.name for p in (own_cache / "tokens").iterdir()] == ["key"]


def test_cache_that_cannot_be_written_is_a_warning(file, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file where the folder should be")
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "occupied"))
    prepared, _, reporter = run(file)
    assert len(prepared.train) > 0
    assert reporter.heard("not written", "warning")


def test_report_round_trip(file):
    report = run(file)[0].report
    assert DataReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"LUTHIER_CACHE": "/x/y"}, "/x/y"),
        ("linux", {}, "/home/ann/.cache/luthier"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/luthier"),
        ("darwin", {}, "/home/ann/Library/Caches/luthier"),
    ],
)
def test_cache_folder(monkeypatch, platform, variables, expected):
    for name in ("LUTHIER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.cache_folder() == Path(expected)
