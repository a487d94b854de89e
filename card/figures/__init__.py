"""Figures of the book, one function each, in one visual language."""
