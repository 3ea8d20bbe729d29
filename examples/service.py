"""A web service that answers with what a die computes.

Run it beside an image and a programmed die with ``uvicorn service:app``, then:

    curl -X POST localhost:8000/run -H 'Content-Type: application/json' -d '{"inputs": [...]}'

``PIMC_IMAGE`` and ``PIMC_DIE`` name the files, ``PIMC_SESSIONS`` how many requests are computed at
the same time. A session serves one request at a time, so that the noise of its reads does not
depend on what others ask; further requests wait for the next one that is free.
"""

from __future__ import annotations

import os
import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import pimc

IMAGE = os.environ.get("PIMC_IMAGE", "resnet8.pimc")
DIE = os.environ.get("PIMC_DIE", "chip.die")
SESSIONS = int(os.environ.get("PIMC_SESSIONS", "2"))


class Pool:
    """Sessions on copies of one die; each is lent to one request at a time."""

    def __init__(self, count: int) -> None:
        self._free: queue.Queue[pimc.Session] = queue.Queue()
        for seed in range(count):
            self._free.put(pimc.Session(IMAGE, die=pimc.Die.load(DIE), seed=seed))

    @contextmanager
    def lent(self) -> Iterator[pimc.Session]:
        """A session that nobody else uses meanwhile."""
        session = self._free.get()
        try:
            yield session
        finally:
            self._free.put(session)


class Request(BaseModel):
    """Samples as nested lists, in the shape that the network takes."""

    inputs: list[Any]


class Answer(BaseModel):
    """The first output of the network, and the class that it names, for each sample."""

    outputs: list[list[float]]
    classes: list[int]


pools: dict[str, Pool] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the sessions before the first request."""
    pools["die"] = Pool(SESSIONS)
    yield
    pools.clear()


app = FastAPI(title="pimc", lifespan=lifespan)


@app.get("/health")
def health() -> dict[str, str]:
    """Whether the service is up, and what it runs."""
    return {"status": "ok", "image": IMAGE, "die": DIE}


@app.post("/run")
def run(request: Request) -> Answer:
    """What the die computes for these samples."""
    with pools["die"].lent() as session:
        try:
            samples = np.asarray(request.inputs, dtype=np.float32)
            (name,) = [one.name for one in session.get_inputs()]
            first, *_ = session.run(None, {name: samples})
        except (ValueError, pimc.PimcError) as cause:
            raise HTTPException(status_code=422, detail=str(cause)) from cause
    scores = first.reshape(len(first), -1)
    return Answer(outputs=scores.tolist(), classes=scores.argmax(axis=1).tolist())
