"""A row of `luthier data show` as a page, in the look of the report."""

from luthier.pages.data_show.write import write_data_show

__all__ = ["write_data_show"]
