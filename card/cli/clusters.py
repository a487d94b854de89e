"""The Dask cluster that a command names by its address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from card.base.errors import ScenarioError, extra

if TYPE_CHECKING:
    from distributed import Client

_PATIENCE_S = 5


@contextmanager
def cluster(address: str | None) -> Iterator[Client | None]:
    """Client of a Dask cluster, for as long as a sweep takes; None without an address.

    Raises
    ------
    ScenarioError
        If no scheduler answers there.
    """
    if address is None:
        yield None
        return
    with extra("sweep", "--dask"):
        from distributed import Client
    logging.disable()  # what the cluster does wrong is told in one line
    try:
        try:
            asyncio.run(_reach(address))  # a client that reached nobody dies late and loudly
            # not the default of the process, which would keep a client that never reached anyone
            client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
        except Exception as error:
            # what is wrong with an address is told by errors of many kinds
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ScenarioError(
                f"--dask {address!r} does not answer ({reason:.200}); give the address of a "
                "running scheduler, e.g. tcp://127.0.0.1:8786."
            ) from None
        with client:
            yield client
    finally:
        logging.disable(logging.NOTSET)


async def _reach(address: str) -> None:
    from distributed.comm.core import connect
    from distributed.security import Security

    security = Security().get_connection_args("client")
    # of its own it waits without end for another kind of server's greeting
    reached = asyncio.wait_for(connect(address, timeout=_PATIENCE_S, **security), 2 * _PATIENCE_S)
    (await reached).abort()
