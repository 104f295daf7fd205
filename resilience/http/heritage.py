"""What a service under a new description takes over from itself under the old one.

Endpoints stay the same objects, and with them their connections, latencies, what is in flight and who waits; circuits
keep their state and budgets their balance under the new options. Calls in flight end under the old description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilience.balancing.wrapping import copied
from resilience.core.endpoint import Endpoint
from resilience.core.errors import ConfigurationError
from resilience.http.adaptive import limit_endpoint
from resilience.http.fitness import balancing
from resilience.http.roster import NamedRoute
from resilience.policies.successions import budget_after, circuit_after, latencies_after

if TYPE_CHECKING:
    from resilience.balancing.slow_start import SlowStart
    from resilience.core.ports import Balancer, Runtime
    from resilience.core.resolution import Resolution
    from resilience.http.service import Service
    from resilience.http.upstream import Upstream
    from resilience.policies.budget import Budget
    from resilience.policies.hedge import Hedge


def rehearse(old: Upstream, service: Service, runtime: Runtime) -> None:
    """Raise ConfigurationError for a description that cannot be put into force, before anything has changed."""
    argument, expected = f"services[{old.name!r}]", "a description that can be put into force"
    try:
        if service.circuit is not None:
            service.circuit.fresh(draw=runtime.random)
        immediate = getattr(service.discovery, "immediate", None)
        found = None if immediate is None else immediate(old.target)
        balancer = copied(service.balancer)
        if balancer is not None:
            there = old.endpoints if found is None or looks_alike(service, old.service) else _stand_ins(found)
            balancer.update(() if there is old.endpoints and _balances_alike(service, old.service) else there)
    except Exception as error:
        shown = f"{service!r} ({type(error).__name__}: {error})"
        raise ConfigurationError(argument, shown, expected) from error


def _stand_ins(found: Resolution) -> list[Endpoint]:
    return [Endpoint(replica.address, weight=replica.weight, tier=replica.tier) for replica in found.replicas]


def budget_for(service: Service, old: Upstream | None, now: float) -> Budget | None:
    """Return the balance that a service draws on: the old one, with what has been spent, under the new options."""
    if service.budget is None:
        return None
    if old is None or old.budget is None:
        return service.budget.fresh()
    return budget_after(old.budget, service.budget, now)


def hedge_for(service: Service, old: Upstream | None, budget: Budget | None) -> Hedge | None:
    """Return the service's hedge, drawing on its balance, with the latencies that are known."""
    if service.hedge is None:
        return None
    hedge = service.hedge.sharing(budget, paid=service.retry is not None)
    return hedge if old is None or old.hedge is None else latencies_after(old.hedge, hedge)


def balancing_for(service: Service, old: Upstream | None, runtime: Runtime) -> tuple[Balancer, SlowStart | None]:
    """Return balancer and slow start: the old ones, with what they know, where the new description says the same."""
    if old is not None and _balances_alike(service, old.service):
        return old.room.balancer, old.fitness.slow_start
    return balancing(service, runtime)


def _balances_alike(one: Service, other: Service) -> bool:
    if one.balancer is not other.balancer and (
        type(one.balancer) is not type(other.balancer) or repr(one.balancer) != repr(other.balancer)
    ):
        return False
    return (one.slow_start, one.overprovisioning) == (other.slow_start, other.overprovisioning)


def looks_alike(one: Service, other: Service) -> bool:
    """Tell whether names are looked up the same way, so that the answers stay good."""
    return one.discovery is other.discovery or (
        type(one.discovery) is type(other.discovery) and one.discovery == other.discovery
    )


def take_over(new: Upstream, old: Upstream, limit: float) -> None:
    """Give the endpoints and what is known of them to the new description, and tell the old one nothing any more."""
    healthy = _health_after(new, old)
    ejected = None if old.service.ejection == new.service.ejection else False
    if ejected is None:
        new.fitness.follow(old.fitness, new.room)
    old.fitness.close()
    new.room.follow(old.room)
    _names_after(new, old)
    for endpoint in old.roster.known:
        _describe(endpoint, new, limit)
        endpoint.mark(healthy=healthy, ejected=ejected)
        if endpoint.route is not None and new.directory is not None:
            endpoint.route = NamedRoute(new.roster, new.directory)
    new.roster.follow(old.roster)
    if new.directory is not None and new.directory is old.directory:
        new.directory.tell(new.roster.adopt)
        if old.resolution is not new.resolution:  # an answer came in between
            new.roster.adopt(old.resolution)


def _health_after(new: Upstream, old: Upstream) -> bool | None:
    """Go on probing, where the check is the same, and return None; else whoever was found unwell is well again."""
    if old.prober is None:
        return True
    if new.prober is None or old.service.health != new.service.health:
        old.prober.close()
        return True
    new.prober.close()
    new.prober = old.prober
    new.prober.serve(new.room, new.fitness.health_changed)
    return None


def _names_after(new: Upstream, old: Upstream) -> None:
    """Go on with the same lookups, where names are looked up the same way."""
    if old.directory is None:
        return
    if new.directory is None or not looks_alike(new.service, old.service):
        old.directory.close()
        return
    new.directory.close()
    new.directory = old.directory


def _describe(endpoint: Endpoint, new: Upstream, limit: float) -> None:
    limit_endpoint(endpoint, new.service, limit)
    template = new.service.circuit
    if template is None:
        endpoint.circuit = None
        return
    made: Any = template.fresh(draw=new.runtime.random)
    known: Any = endpoint.circuit
    endpoint.circuit = made if known is None else circuit_after(known, made)
