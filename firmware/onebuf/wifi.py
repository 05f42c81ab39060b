"""Wi-Fi: a station, brought up over the runtime's module network, and left.

What the ESP32's driver does (MicroPython's ports/esp32/network_wlan.c, 1.24 to 1.27): until it has
an address it tries again by itself, and status() names the last failure, also one of before
connect(). A link may be dead while isconnected() is True: then reset() and connect() recover it.
"""

from micropython import const

_ENONET = const(-64)  # no access point of that name
_EADDRNOTAVAIL = const(-99)  # DHCP gave no address
_ENETUNREACH = const(-101)  # the driver says no more than that
_ETIMEDOUT = const(-110)
_ENOKEY = const(-126)  # the access point does not take the key

_STEP_MS = const(100)
_LEAVING = const(10)  # steps
# Of the names STAT_... a runtime has some.
_FAILURES = (
    ("WRONG_PASSWORD", _ENOKEY),
    ("HANDSHAKE_TIMEOUT", _ENOKEY),
    ("NO_AP_FOUND", _ENONET),
    ("BEACON_TIMEOUT", _ENETUNREACH),
    ("ASSOC_FAIL", _ENETUNREACH),
    ("CONNECT_FAIL", _ENETUNREACH),
)


class Wifi:
    """The station of a module network; transport sleeps, and feeds the watchdog meanwhile.

    key: None where the network is open; it is kept, because the link may have to be built anew.
    timeout_ms bounds one connect(). result: what that said last. ValueError: no such name or key.
    """

    def __init__(
        self, network, transport, ssid: str, key=None, hostname=None, timeout_ms: int = 20000
    ):
        if not 0 < len(ssid.encode()) <= 32 or len(key or "") > 64:
            raise ValueError("ssid: 1 to 32 octets, key: up to 64")
        if hostname:
            network.hostname(hostname)
        self.timeout_ms = timeout_ms
        self.result = 0
        self._network = network
        self._wlan = network.WLAN(network.WLAN.IF_STA)
        self._transport = transport
        self._ssid = ssid
        self._key = key

    def connect(self) -> int:
        """Join the network if that is not done: 0; or -errno, and then no attempt goes on.

        -ENOKEY: wrong key; -ENONET: no such access point; -EADDRNOTAVAIL: joined, but no DHCP;
        -ETIMEDOUT; -ENETUNREACH: anything else.
        """
        self.result = 0
        if not self._wlan.isconnected():
            try:
                self.result = self._join(self._wlan)
            except OSError:
                self.result = _ENETUNREACH
            if self.result < 0:
                self.reset()
        return self.result

    def reset(self):
        """Leave the network: after a failure, or where the link seems dead. Then connect()."""
        wlan = self._wlan
        try:
            wlan.disconnect()
        except OSError:  # it was not even active
            pass
        for _ in range(_LEAVING):
            if not wlan.isconnected():
                break
            self._transport.sleep_ms(_STEP_MS)

    def off(self):
        """Leave the network and switch the radio off: before deep sleep."""
        self.reset()
        self._wlan.active(False)

    def _join(self, wlan):
        wlan.active(True)
        before = wlan.status()  # perhaps an old failure, which tells nothing of this attempt
        wlan.connect(self._ssid, self._key)
        for _ in range(self.timeout_ms // _STEP_MS):
            self._transport.sleep_ms(_STEP_MS)
            if wlan.isconnected():
                return 0
            status = wlan.status()
            if status != before:
                before = None
                if self._failure(status):
                    return self._failure(status)
        if self._joined(wlan):
            return _EADDRNOTAVAIL
        return self._failure(wlan.status()) or _ETIMEDOUT

    def _failure(self, status):
        """What a status means, -errno; 0: no failure."""
        for name, r in _FAILURES:
            if status == getattr(self._network, "STAT_" + name, None):
                return r
        return _ENONET if 210 <= status <= 212 else 0  # ESP32: none secure, or near, enough

    def _joined(self, wlan):
        """Whether there is an access point that the station is with."""
        try:
            return wlan.status("rssi") < 0
        except (OSError, ValueError):
            return False
