"""One publish to Alibaba Cloud IoT Platform. Put your product, device and secret here."""

from onebuf.client import Client
from onebuf.cloud.aliyun import Aliyun
from onebuf.port.micropython import Transport, tls_context
from onebuf.publish import Publisher

PRODUCT_KEY = "a1B2c3D4e5F"
DEVICE_NAME = "dev-0001"
DEVICE_SECRET = ""
TOPIC = "/a1B2c3D4e5F/dev-0001/user/update"
ADDRESS = ""  # connect there instead of to Alibaba Cloud: an emulated cloud
PORT = 443


def read(name):
    with open(name, "rb") as file:
        return file.read()


def main():
    aliyun = Aliyun(PRODUCT_KEY, DEVICE_NAME, DEVICE_SECRET, TOPIC, port=PORT)
    transport = Transport(tls_context(read("ca.der")), ADDRESS)
    client = Client(transport, bytearray(1024), aliyun.host, aliyun.port)
    Publisher(client, aliyun).publish(b'{"temperature":21.5}')
    print("published")
    client.close()


if __name__ == "__main__":
    main()
