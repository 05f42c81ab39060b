"""One event to IBM Watson IoT Platform. Put your organisation, device and token here."""

from onebuf.client import Client
from onebuf.cloud.watson import Watson
from onebuf.port.micropython import Transport, tls_context
from onebuf.publish import Publisher

ORG = "myorg1"
TYPE_ID = "sensor"
DEVICE_ID = "dev-0001"
TOKEN = ""
ADDRESS = ""  # connect there instead of to Watson: an emulated cloud
PORT = 443


def read(name):
    with open(name, "rb") as file:
        return file.read()


def main():
    watson = Watson(ORG, TYPE_ID, DEVICE_ID, "status", TOKEN, port=PORT)
    transport = Transport(tls_context(read("ca.der")), ADDRESS)
    client = Client(transport, bytearray(1024), watson.host, watson.port)
    Publisher(client, watson).publish(b'{"temperature":21.5}')
    print("published")
    client.close()


if __name__ == "__main__":
    main()
