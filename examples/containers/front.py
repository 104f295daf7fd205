"""A service that cannot do without another: one resilient client, and readiness by what that client knows."""

import json
import os

import logs

import resilience
from resilience.health import App

# In Swarm "tasks.web": the name alone is one virtual address there.
WEB = os.environ.get("WEB", "web")

logs.configure()

service = resilience.Service(
    # Docker's nameserver says that each answer is good for 600 s; here new replicas are found within two.
    discovery=resilience.Dns(min_ttl=1, max_ttl=2),
    # Compose's nameserver goes on naming replicas that drain, until they have ended; their /readyz tells. However many
    # do at the same time (six scaled down to two): they mean it, so no panic.
    health=resilience.HealthCheck("/readyz", interval=1.0),
    panic=0,
)
client = resilience.AsyncClient(services={WEB: service}, timeout=2.0)


async def api(scope, receive, send):
    """Pass the question on, and answer with what came back."""
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            if event == "lifespan.shutdown":
                await client.aclose()
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    try:
        answer = await client.get(f"http://{WEB}:8080/")
        status, body = answer.status_code, answer.content
    except resilience.ResilienceError as error:
        status, body = 503, json.dumps({"error": str(error)}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


app = App(api, requires={WEB: client}, grace=3.0, about={"serviceId": "front"})
