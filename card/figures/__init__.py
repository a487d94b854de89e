"""Figures of the book, one function each, in one visual language."""

from card.base.errors import needs

needs("book", "card.figures", "matplotlib", "PIL")
