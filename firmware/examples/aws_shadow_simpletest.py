"""AWS IoT's device shadow: do as the cloud desires, and report it. Files as in aws_simpletest.

The policy of the thing has to allow iot:GetThingShadow and iot:UpdateThingShadow.
"""

import json

from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.cloud.aws_shadow import Shadow
from onebuf.port.micropython import Transport, tls_context
from onebuf.publish import Publisher

ENDPOINT = "a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com"
THING = "dev-0001"
ADDRESS = ""  # connect there instead of to the endpoint: an emulated cloud
PORT = 8443


def read(name):
    with open(name, "rb") as file:
        return file.read()


def main():
    context = tls_context(read("ca.der"), read("cert.der"), read("key.der"))
    aws = AWS(ENDPOINT, "fleet/%s/telemetry" % THING, port=PORT)
    client = Client(Transport(context, ADDRESS), bytearray(2048), aws.host, aws.port)
    shadow = Shadow(Publisher(client, aws), THING)  # which publishes over the same connection
    wanted = {}
    if shadow.get() == 200:  # 404: there is none yet
        r = client.response
        document = json.loads(bytes(r.buf[r.off : r.off + r.n]))
        wanted = document["state"].get("delta", {})  # what is desired and not yet reported
    print("wanted", json.dumps(wanted))
    print("reported", shadow.update(json.dumps({"state": {"reported": wanted}}).encode()))
    client.close()


if __name__ == "__main__":
    main()
