"""The laboratory: what runs the real LLM; loads torch, and nothing in the model imports it."""

import os

# gRPC's own log would bury the one readable line of an error; it reads this when it is imported,
# and whoever debugs it sets the variable
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
