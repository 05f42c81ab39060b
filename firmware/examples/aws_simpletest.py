"""One publish to AWS IoT. Put your endpoint here, and ca.der, cert.der and key.der beside it."""

from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.port.micropython import Transport, tls_context
from onebuf.publish import Publisher

ENDPOINT = "a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com"
TOPIC = "fleet/dev-0001/telemetry"
ADDRESS = ""  # connect there instead of to the endpoint: an emulated cloud
PORT = 8443


def read(name):
    with open(name, "rb") as file:
        return file.read()


def main():
    context = tls_context(read("ca.der"), read("cert.der"), read("key.der"))
    aws = AWS(ENDPOINT, TOPIC, port=PORT)
    client = Client(Transport(context, ADDRESS), bytearray(1024), aws.host, aws.port)
    Publisher(client, aws).publish(b'{"temperature":21.5}')
    print("published")
    client.close()


if __name__ == "__main__":
    main()
