"""Who calls an emulated Watson IoT organisation, and for whom (PROTOCOLS 4.3, row 14).

Invariant: every refusal is 403, and none says whether the name or the token was wrong.
"""

from __future__ import annotations

import re

from host.cloud.watson_registry import Registry
from host.cloud.watson_request import QUICKSTART, Credentials, Path, Refused

USER = "use-token-auth"

_GATEWAY = (
    re.compile(r"g/([^/]+)/([^/]+)/(.+)"),
    re.compile(r"g-([^-]+)-([^-]+)-(.+)"),  # no room for a dash in the type
)


class Access:
    """The rules of one organisation."""

    def __init__(self, registry: Registry, org: str) -> None:
        self._registry = registry
        self._org = org

    def client(self, org: str | None, given: Credentials | None, found: Path) -> str:
        """Return the caller's MQTT client identifier; Refused with 403."""
        if found.action == "commands" and not found.application:
            raise Refused(403)  # only applications may send commands
        if org == QUICKSTART:
            return _anonymous(found)
        if org != self._org or given is None:
            raise Refused(403)
        if found.application:
            return self._application(given)
        return self._gateway(given) if given.is_gateway else self._device(given, found)

    def check_target(self, client: str, found: Path) -> None:
        """Refuse a device that a gateway or application may not speak of.

        A gateway's unknown child is registered by its first event, as the platform does it; it
        has no token. Strict: another gateway is nobody's child, and an application cannot name
        what is not registered.
        """
        kind, _, own = client.partition(f":{self._org}:")
        if kind not in ("a", "g") or found.action == "request":
            return
        state = self._registry.state(found.type, found.id)
        if state is None and kind == "g":
            self._registry.add_device(found.type, found.id, False, None)
            return
        if state is None or not state.enabled:
            raise Refused(403)
        if kind == "g" and state.gateway and own != f"{found.type}:{found.id}":
            raise Refused(403)

    def _device(self, given: Credentials, found: Path) -> str:
        known = self._registry.device_may(found.type, found.id, False, given.password)
        if given.user != USER or not known:
            raise Refused(403)
        return f"d:{self._org}:{found.type}:{found.id}"

    def _gateway(self, given: Credentials) -> str:
        form = next(filter(None, (form.fullmatch(given.user) for form in _GATEWAY)), None)
        if form is None or form[1] != self._org:
            raise Refused(403)
        if not self._registry.device_may(form[2], form[3], True, given.password):
            raise Refused(403)
        return f"g:{form[1]}:{form[2]}:{form[3]}"

    def _application(self, given: Credentials) -> str:
        if not self._registry.key_may(given.user, given.password):
            raise Refused(403)
        return given.user.replace("-", ":", 2)


def _anonymous(found: Path) -> str:
    """Return a Quickstart client's identifier.

    IBM's own clients post events there, as devices and as applications. Strict: nothing else is
    allowed.
    """
    if found.action != "events":
        raise Refused(403)
    if found.application:
        return f"a:{QUICKSTART}:http_proxy"
    return f"d:{QUICKSTART}:{found.type}:{found.id}"
