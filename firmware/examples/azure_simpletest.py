"""One publish to Azure IoT Hub with a device key. Put your hub, device and key here."""

from onebuf.client import Client
from onebuf.clock import Clock
from onebuf.cloud.azure import Azure
from onebuf.port.micropython import Transport, tls_context
from onebuf.publish import Publisher

HUB = "MyExampleHub.azure-devices.net"
DEVICE_ID = "dev-0001"
KEY = ""  # the device's symmetric key in base64; None with a certificate, which tls_context gets
ADDRESS = ""  # connect there instead of to the hub: an emulated cloud
PORT = 443
TIME = {}  # what Clock takes: {} asks pool.ntp.org


def read(name):
    with open(name, "rb") as file:
        return file.read()


def main():
    clock = Clock(**TIME)  # on a board Clock(machine.RTC()): TLS compares certificates with it
    clock.sync()
    azure = Azure(HUB, DEVICE_ID, KEY, port=PORT)
    transport = Transport(tls_context(read("ca.der")), ADDRESS)
    client = Client(transport, bytearray(1024), azure.host, azure.port)
    Publisher(client, azure, clock).publish(b'{"temperature":21.5}')
    print("published")
    client.close()


if __name__ == "__main__":
    main()
