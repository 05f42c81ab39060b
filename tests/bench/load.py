"""What every client of the bench sends, and whom it trusts."""

HOST = "localhost"
TOPIC = "fleet/dev-0001/telemetry"
BODY = b'{"device":"dev-0001","seq":123456,"time":1795248000,"temperature":21.53,"humidity":40.2}'


def ca():
    with open("ca.der", "rb") as file:
        return file.read()
