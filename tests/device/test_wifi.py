"""The station: what it makes of what the driver says, on a scripted module network."""

from checks import raises
from onebuf.wifi import Wifi

IDLE, CONNECTING, GOT_IP = 1000, 1001, 1010
NO_AP_FOUND, WRONG_PASSWORD, HANDSHAKE_TIMEOUT = 201, 202, 204
_ENONET = -64
_EADDRNOTAVAIL = -99
_ENETUNREACH = -101
_ETIMEDOUT = -110
_ENOKEY = -126
KEY = "correct horse"


class Station:
    """The driver's object. attempts: for each connect() the statuses that status() gives then, one
    after the other, the last one for ever; an OSError is raised. rssi: a number, or an error.

    As the ESP32's it shows the last attempt's failure until this one has a result of its own.
    """

    def __init__(self, attempts, rssi=OSError):
        self.calls = []
        self._attempts = list(attempts)
        self._rssi = rssi
        self._statuses = [IDLE]
        self.dead = False  # isconnected() does not notice
        self.leaves_late = 0  # how many times isconnected() is still asked for in vain

    def active(self, up):
        self.calls.append("on" if up else "off")

    def connect(self, ssid, key):
        self.calls.append(("connect", ssid, key))
        attempt = self._attempts.pop(0)
        if attempt is OSError:
            raise OSError("Wifi Internal State Error")
        self._statuses = [self._statuses[0]] + list(attempt)

    def disconnect(self):
        self.calls.append("disconnect")
        if self._statuses[0] == GOT_IP:
            self._statuses = [IDLE]
        elif self.dead:
            raise OSError("Wifi Not Started")

    def isconnected(self):
        if len(self._statuses) > 1:
            self._statuses.pop(0)
        if self.leaves_late:
            self.leaves_late -= 1
            return True
        return self._statuses[0] == GOT_IP

    def status(self, what=""):
        if not what:
            return self._statuses[0]
        assert what == "rssi"
        if self._rssi in (OSError, ValueError):
            raise self._rssi
        return self._rssi


class Network:
    """The runtime's module: an ESP32's, or with states that of another board."""

    def __init__(self, station, **states):
        self.names = []

        class WLAN:
            IF_STA = 0

            def __new__(cls, interface):
                assert interface == 0
                return station

        self.WLAN = WLAN
        if not states:
            states = {
                "STAT_NO_AP_FOUND": NO_AP_FOUND,
                "STAT_WRONG_PASSWORD": WRONG_PASSWORD,
                "STAT_BEACON_TIMEOUT": 200,
                "STAT_ASSOC_FAIL": 203,
                "STAT_HANDSHAKE_TIMEOUT": HANDSHAKE_TIMEOUT,
            }
        for name in states:
            setattr(self, name, states[name])

    def hostname(self, name):
        self.names.append(name)


class Sleeper:
    """As much of a transport as waits; it takes no time."""

    def __init__(self):
        self.ms = 0
        self.longest = 0

    def sleep_ms(self, ms):
        self.ms += ms
        self.longest = max(self.longest, ms)


def wifi(*attempts, rssi=OSError, timeout_ms=20000, states=None):
    """(a Wifi, its station, how it slept)."""
    station = Station(attempts, rssi)
    slept = Sleeper()
    network = Network(station, **(states or {}))
    return Wifi(network, slept, "home", KEY, timeout_ms=timeout_ms), station, slept


def test_station_that_gets_an_address_is_connected_and_asked_no_more():
    w, station, slept = wifi([CONNECTING] * 30 + [GOT_IP])
    assert w.connect() == 0 and w.result == 0
    assert station.calls == ["on", ("connect", "home", KEY)]
    assert 2000 < slept.ms < 5000
    assert w.connect() == 0
    assert len(station.calls) == 2


def test_waits_are_short_enough_to_feed_a_watchdog_in():
    w, _, slept = wifi([CONNECTING])
    assert w.connect() == _ETIMEDOUT
    assert slept.longest <= 1000


def test_failures_of_the_driver_have_numbers_of_their_own_and_end_the_attempt():
    for status, r in (
        (WRONG_PASSWORD, _ENOKEY),
        (HANDSHAKE_TIMEOUT, _ENOKEY),
        (NO_AP_FOUND, _ENONET),
        (211, _ENONET),
        (200, _ENETUNREACH),
        (203, _ENETUNREACH),
    ):
        w, station, slept = wifi([CONNECTING] * 10 + [status])
        assert w.connect() == w.result == r, status
        assert slept.ms < 3000
        assert station.calls[-1] == "disconnect", "the radio went on trying"


def test_failures_of_another_runtime_are_known_by_its_own_numbers():
    pico = {"STAT_WRONG_PASSWORD": -3, "STAT_NO_AP_FOUND": -2, "STAT_CONNECT_FAIL": -1}
    for status, r in ((-3, _ENOKEY), (-2, _ENONET), (-1, _ENETUNREACH), (2, _ETIMEDOUT)):
        w, _, _ = wifi([1, status], rssi=0, states=pico)
        assert w.connect() == r, status


def test_attempt_ends_within_its_time():
    for rssi in (OSError, ValueError):
        w, station, slept = wifi([CONNECTING], rssi=rssi, timeout_ms=3000)
        assert w.connect() == _ETIMEDOUT
        assert 2500 < slept.ms <= 3000
        assert station.calls[-1] == "disconnect"


def test_access_point_without_dhcp_is_told_from_one_that_is_not_there():
    w, _, _ = wifi([CONNECTING], rssi=-71)
    assert w.connect() == _EADDRNOTAVAIL


def test_failure_of_the_attempt_before_does_not_end_this_one():
    w, _, slept = wifi([NO_AP_FOUND], [NO_AP_FOUND] * 40 + [GOT_IP])
    assert w.connect() == _ENONET
    before = slept.ms
    assert w.connect() == 0
    assert slept.ms - before > 3000


def test_failure_that_comes_again_is_told_at_the_end():
    w, _, _ = wifi([WRONG_PASSWORD], [WRONG_PASSWORD], [CONNECTING, WRONG_PASSWORD])
    for _ in range(3):
        assert w.connect() == _ENOKEY


def test_driver_that_raises_is_a_result_and_the_next_attempt_starts_from_scratch():
    w, station, _ = wifi(OSError, [CONNECTING, GOT_IP])
    assert w.connect() == _ENETUNREACH
    assert station.calls[-1] == "disconnect"
    assert w.connect() == 0


def test_dead_link_that_says_it_stands_is_joined_anew_after_a_reset():
    w, station, _ = wifi([GOT_IP], [CONNECTING, GOT_IP])
    assert w.connect() == 0
    station.leaves_late = 3
    w.reset()
    assert not station.isconnected()
    assert w.connect() == 0
    assert station.calls.count(("connect", "home", KEY)) == 2


def test_reset_does_not_wait_for_ever_for_a_driver_that_does_not_leave():
    w, station, slept = wifi()
    station.leaves_late = 1000
    w.reset()
    assert slept.ms <= 1000


def test_radio_is_off_in_the_end_even_if_it_was_never_on():
    w, station, _ = wifi()
    station.dead = True
    w.off()
    assert station.calls == ["disconnect", "off"]


def test_hostname_is_told_before_the_radio_is_on():
    station = Station([[GOT_IP]])
    network = Network(station)
    w = Wifi(network, Sleeper(), "open network", hostname="sensor-1")
    assert network.names == ["sensor-1"] and not station.calls
    assert w.connect() == 0
    assert station.calls == ["on", ("connect", "open network", None)]


def test_settings_that_no_network_has_are_refused_without_telling_the_key():
    secret = "s" * 65
    for ssid, key in (("", None), ("x" * 33, None), ("\u00e9" * 17, None), ("home", secret)):
        error = raises(ValueError, Wifi, Network(Station([])), Sleeper(), ssid, key)
        assert secret not in str(error)


def test_key_is_not_shown():
    w, _, _ = wifi()
    assert KEY not in repr(w) + str(w)
