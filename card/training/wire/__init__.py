"""What travels between edge server and device: messages, tensors, limits, certificates."""

import os

# gRPC's own log would bury the one readable line of an error; it reads this when it is imported,
# and whoever debugs it sets the variable
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
