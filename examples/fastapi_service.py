"""A FastAPI service that calls another one.

Run: ``uvicorn examples.fastapi_service:app``; in Compose or Kubernetes, ``stock.internal`` is the other service's name.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request

import resilience

# A caller of ours waits at most a second, so no replica of the stock gets longer than 300 ms for one attempt.
STOCK = resilience.Service(total_timeout=1.0, attempt_timeout=0.3)


def create_app(stock: resilience.Service = STOCK) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = {"stock.internal": stock}
        async with resilience.AsyncClient(base_url="http://stock.internal:8080", services=services) as client:
            app.state.stock = client
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/orders/{item}")
    async def order(item: str, request: Request) -> dict[str, Any]:
        try:
            answer = await request.app.state.stock.get(f"/items/{item}")
            answer.raise_for_status()
        except resilience.RejectedError as error:  # nothing was sent, and we may know when it is worth coming back
            again = {"Retry-After": f"{error.retry_after or 1:.0f}"}
            raise HTTPException(503, "the stock cannot be asked now", headers=again) from error
        except httpx.HTTPError as error:
            raise HTTPException(502, "the stock did not answer") from error
        return {"item": item, "stock": answer.json()}

    @app.get("/readyz")
    async def ready(request: Request) -> dict[str, list[str]]:
        services = request.app.state.stock.status().services.values()
        return {each.name: [endpoint.address for endpoint in each.endpoints if endpoint.ready] for each in services}

    return app


app = create_app()
