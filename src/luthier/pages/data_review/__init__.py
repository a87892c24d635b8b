"""The page of `luthier data review`, and the server on this machine alone that it talks to."""

from luthier.pages.data_review.server import ReviewServer

__all__ = ["ReviewServer"]
