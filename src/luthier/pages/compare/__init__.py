"""compare-<names>.html: runs side by side, in the look of the report."""

from luthier.pages.compare.write import write_comparison

__all__ = ["write_comparison"]
