"""Figures of the book, one function each, in one visual language."""

from card.base.errors import extra

with extra("book", "card.figures"):
    import matplotlib
