"""report.html in a real browser: it runs without complaint, asks for nothing, and its filter and curves answer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from luthier.pages.report import write_report
from tests.unit.pages.run_folder import answer, write_lines, write_run

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no chromium or chrome on this machine"),
    pytest.mark.slow,
]

# Works the page as a reader would; appended to a copy whose policy is taken out, as the policy would not let it run.
READER = """
<script>
document.querySelector('input[type=radio][value=fixed]').click();
const chart = document.querySelector('.plot-svg');
for (const key of ['Home', 'ArrowRight', 'ArrowRight'])
  chart.dispatchEvent(new KeyboardEvent('keydown', {key: key, bubbles: true}));
document.body.dataset.overflow = document.documentElement.scrollWidth > window.innerWidth ? 'yes' : 'no';
</script>
"""


def open_page(page: Path, profile: Path, width: int = 1400) -> tuple[str, str]:
    """The document after its scripts ran, and what the browser logged."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            f"--window-size={width},900",
            f"--user-data-dir={profile}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def console(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    run = write_run(tmp_path / "first")
    scores = [(f"{i:02d}", name, float(i % 2 and name == "tuned")) for i in range(50) for name in ("base", "tuned")]
    write_lines(run / "evaluation/sql/rows.jsonl", [answer(*entry) for entry in scores])
    return write_report(run)


def test_page_runs_under_its_own_policy_without_complaint(report: Path, tmp_path: Path) -> None:
    document, log = open_page(report, tmp_path / "profile")
    assert console(log) == []
    assert "20 of 50 shown" in document


def test_the_console_is_really_seen(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text(report.read_text().replace("</body>", "<script>alert('not in the policy')</script></body>"))
    _, log = open_page(page, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in console(log))


@pytest.mark.parametrize("width", [1400, 500])
def test_filter_and_curves_answer(report: Path, tmp_path: Path, width: int) -> None:
    page = tmp_path / "worked.html"
    source = re.sub(r"<meta http-equiv=[^>]*>", "", report.read_text())
    page.write_text(source.replace("</body>", f"{READER}</body>"))
    document, log = open_page(page, tmp_path / "profile", width)
    assert console(log) == []
    assert "20 of 25 shown" in document
    shown = [tag for tag in re.findall(r"<article class=\"example[^>]*>", document) if "hidden" not in tag]
    assert len(shown) == 20
    assert all('data-outcome="fixed"' in tag for tag in shown)
    # Home is the first place, two to the right of it is step 3.
    assert "training, step 3: 2.7 · validation, step 10: 2.125" in document
    assert 'data-overflow="no"' in document
