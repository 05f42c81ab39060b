"""One reading to AWS IoT; settings.toml says where to, and which PEM files log in."""

import os

import adafruit_connection_manager
import wifi
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.port.circuitpython import Transport, tls_context
from onebuf.publish import Publisher

radio = wifi.radio
if not radio.connected:
    ssid = os.getenv("CIRCUITPY_WIFI_SSID", "")
    radio.connect(ssid, os.getenv("CIRCUITPY_WIFI_PASSWORD", ""))
pool = adafruit_connection_manager.get_radio_socketpool(radio)
ca = None  # the CAs in the firmware; AWS IoT's, Amazon Root CA 1, is among them
if os.getenv("ONEBUF_CA"):
    with open(os.getenv("ONEBUF_CA", "")) as file:
        ca = file.read()
context = tls_context(ca, os.getenv("ONEBUF_CERT"), os.getenv("ONEBUF_CERT_KEY"))

aws = AWS(
    os.getenv("ONEBUF_ENDPOINT", ""),
    os.getenv("ONEBUF_TOPIC", ""),
    port=int(os.getenv("ONEBUF_PORT", 8443)),
)
transport = Transport(pool, context, os.getenv("ONEBUF_ADDRESS", ""))
client = Client(transport, bytearray(1024), aws.host, aws.port)
Publisher(client, aws).publish(b'{"temperature":21.5}')  # raises NotNow or Refused
print("published")
client.close()
