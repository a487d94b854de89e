"""What a reader of a notebook reads."""

import ast
import json


def is_prose(metadata):
    """Whether a code cell shows sentences, and nothing else."""
    return "prose" in metadata.get("tags", [])


def texts(path):
    """All that a reader reads, cell by cell: Markdown, and the sentences that code shows."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if is_prose(cell["metadata"]):
            (statement,) = ast.parse(source).body
            assert ast.unparse(statement.value.func) == "prose"
            yield ast.literal_eval(statement.value.args[0])
        elif cell["cell_type"] == "markdown":
            yield source
