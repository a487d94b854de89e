"""The book: executed, put together, rendered and printed, and what its notebooks hand it."""
