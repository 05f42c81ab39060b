"""Asks Azure's provisioning service which hub the device belongs to.

main.py imports it where config.json has "dps". make_cloud(config, assigned) is main.py's.
"""

from onebuf.backoff import Backoff
from onebuf.client import Client
from onebuf.port.micropython import random16

_PATIENCE = 8  # attempts, with backoff some ten minutes
ASSIGNMENT = "azure.json"  # the hub that the service assigned


def assignment(config, transport, wifi, buf, clock, make_cloud):
    """Hub and device ID, from the file or else from the service.

    OSError: not yet, and a device that sleeps deeply is not to wait for it awake. ValueError:
    settings that cannot work, whatever the service says.
    """
    from onebuf.provision.azure_dps import load

    check(config, transport, buf, clock, make_cloud)
    found = load(ASSIGNMENT)
    if found and found.pop("registration", registration(config)) != registration(config):
        found = None  # config.json is another device's by now
    backoff = Backoff(2000, 300_000)
    while not found:
        found, wait_s = provision(config, transport, buf, clock, make_cloud)
        if not found:
            if "sleep" in config:
                raise OSError("not provisioned yet")
            transport.sleep_ms(max(wait_s * 1000, backoff.next_ms(random16())))
            if wifi:
                wifi.connect()
    return found


def check(config, transport, buf, clock, make_cloud):
    """Refuse with ValueError what will never work; a group's key becomes the device's own."""
    from onebuf.provision.azure_dps import derived_key

    given = config["dps"]
    try:
        if "group_key" in given:
            name = given.get("registration_id", "")
            given["key"] = derived_key(given.pop("group_key"), name)
        service(config, transport, buf, clock)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError("dps: %s" % error)
    if "key" in given:  # it is the hub's too
        config["settings"].setdefault("key", given["key"])
    make_cloud(config, {"hub": "a.azure-devices.net", "device_id": "a"})


def service(config, transport, buf, clock):
    """The provisioning service, and its client."""
    from onebuf.provision.azure_dps import DPS, HOST

    given = dict(config["dps"])
    client = Client(transport, buf, HOST, given.pop("port", 443))
    return DPS(client, clock=clock, **given), client


def provision(config, transport, buf, clock, make_cloud):
    """Ask the service once, and keep its answer in the file: that; or None, and why is printed.

    And how many seconds the service bids to wait before it is asked again.
    """
    from onebuf.provision import azure_dps as dps

    asked, client = service(config, transport, buf, clock)
    try:
        found = asked.register()
        make_cloud(config, found)  # refuses what it cannot work with
        keep(dps, dict(found, registration=registration(config)))
        return found, 0
    except dps.ProvisioningError as error:
        print("provisioning:", error)
        return None, error.wait_s
    except ValueError as error:
        print("provisioning:", error)
        return None, 0
    finally:
        client.close()


def registration(config):
    """Whose assignment it is."""
    return "%s/%s" % (config["dps"]["id_scope"], config["dps"]["registration_id"])


def keep(dps, found):
    """Keep it in the file, if it is news. A device whose flash is full works all the same."""
    try:
        if found != dps.load(ASSIGNMENT):
            dps.save(ASSIGNMENT, found)
    except OSError as error:
        print("provisioning: not kept:", error)


def follow(uplink, config, make_cloud) -> bool:
    """If the hub does not know the device any more, or has not been heard of for long, ask which
    one does, and go on there: whether it was asked."""
    patient = uplink.result >= 0 or uplink.backoff.done <= _PATIENCE
    if patient and not uplink.cloud.gone:
        return False
    client = uplink.client
    client.close()
    assigned = provision(config, client.transport, client.buf, uplink.clock, make_cloud)[0]
    uplink.signed = False  # the buffer was another's meanwhile
    if assigned:
        uplink.cloud = make_cloud(config, assigned)
        client.host = uplink.cloud.host
        client.port = uplink.cloud.port
    return True
