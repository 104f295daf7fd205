"""The same policies around a function that knows nothing of HTTP. Run: ``python examples/any_function.py``."""

import contextlib
import socket

import resilience

# Outermost first: everything within two seconds, up to four attempts, and none at all while the ledger is down.
guarded = resilience.Pipeline(
    resilience.Timeout(2.0),
    resilience.Retry(max_attempts=4, wait=resilience.full_jitter(0.01, 0.1)),
    resilience.CircuitBreaker(consecutive_failures=4, open_for=30.0, name="ledger"),
)


@guarded
def book(entry: str, port: int) -> str:
    """Send one line to the ledger, and return what it says."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
        connection.sendall(entry.encode() + b"\n")
        return connection.makefile().readline().strip()


def main():
    with socket.create_server(("127.0.0.1", 0)) as ledger:
        port = ledger.getsockname()[1]

    # Nobody listens there any more. ConnectionRefusedError is a ConnectionError: it is tried again.
    try:
        book("1 apple", port)
    except ConnectionError as error:
        print(type(error).__name__, *error.__notes__, sep="\n  ")

    # Four failures in a row: the circuit is open, and the next call costs microseconds instead of four attempts.
    with contextlib.suppress(resilience.CircuitOpenError):
        book("2 apples", port)
    try:
        book("2 apples", port)
    except resilience.CircuitOpenError as error:
        print(error, f"(again in {error.retry_after:.0f} s)")


if __name__ == "__main__":
    main()
