"""The findings of `luthier data check` as a page, in the look of the report."""

from luthier.pages.data_check.write import write_data_check

__all__ = ["write_data_check"]
