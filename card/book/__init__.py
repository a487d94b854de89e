"""The book: what notebooks hand it, how it is executed, put together, rendered and printed."""
