"""Keep your own httpx client, and give it our transport. Run: ``python examples/own_httpx_client.py``."""

import httpx

import resilience
from resilience.lab import Fleet


def main():
    with Fleet(2) as replicas:
        web = resilience.Service(discovery=resilience.Static(replicas.addresses))

        # For every URL …
        with httpx.Client(transport=resilience.Transport(services={"web.internal": web})) as client:
            print([client.get("http://web.internal/items").json()["server"] for _ in range(4)])

        # … or for one host, while everything else goes through httpx's own transport.
        mounts = {"http://web.internal": resilience.Transport(services={"web.internal": web})}
        with httpx.Client(mounts=mounts) as client:
            replicas[0].kill()
            print([client.get("http://web.internal/items").json()["server"] for _ in range(4)])
            print(client.get(f"{replicas[1].url}/items").extensions.get("resilience", "no policies here"))


if __name__ == "__main__":
    main()
