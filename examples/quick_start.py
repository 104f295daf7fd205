"""Two lines: ``import resilience``, and its client where httpx's was. Run: ``python examples/quick_start.py``."""

import asyncio

import resilience
from resilience.lab import Fleet


async def main():
    # Three real server processes on loopback stand in for the replicas of a service of yours.
    with Fleet(3) as replicas:
        web = resilience.Service(discovery=resilience.Static(replicas.addresses))

        async with resilience.AsyncClient(services={"web.internal": web}) as client:
            for fault in ("healthy", "a is killed"):
                if fault == "a is killed":
                    replicas[0].kill()
                answers = [await client.get("http://web.internal/items") for _ in range(6)]
                print(fault, [answer.status_code for answer in answers], "from", *(a.json()["server"] for a in answers))

            # What was done for the last call, and what the client knows by now.
            print(answers[-1].extensions["resilience"].attempts)
            for endpoint in client.status().services["web.internal:80"].endpoints:
                print(endpoint.address, endpoint.circuit, "ready" if endpoint.ready else endpoint.not_ready_because)


if __name__ == "__main__":
    asyncio.run(main())
