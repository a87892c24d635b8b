"""report.html: everything a run folder knows, as one page for people that needs no network and no Luthier to be read."""

from luthier.pages.report.write import write_report

__all__ = ["write_report"]
