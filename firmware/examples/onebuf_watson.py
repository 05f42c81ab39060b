"""One event to IBM Watson IoT Platform with a device's token, out of settings.toml."""

import os

import adafruit_connection_manager
import wifi
from onebuf.client import Client
from onebuf.cloud.watson import Watson
from onebuf.port.circuitpython import Transport, tls_context
from onebuf.publish import Publisher

radio = wifi.radio
if not radio.connected:
    ssid = os.getenv("CIRCUITPY_WIFI_SSID", "")
    radio.connect(ssid, os.getenv("CIRCUITPY_WIFI_PASSWORD", ""))
pool = adafruit_connection_manager.get_radio_socketpool(radio)
ca = None  # the CAs in the firmware
if os.getenv("ONEBUF_CA"):
    with open(os.getenv("ONEBUF_CA", "")) as file:
        ca = file.read()

watson = Watson(
    os.getenv("ONEBUF_ORG", ""),
    os.getenv("ONEBUF_TYPE_ID", ""),
    os.getenv("ONEBUF_DEVICE_ID", ""),
    os.getenv("ONEBUF_EVENT", ""),
    os.getenv("ONEBUF_TOKEN"),
    port=int(os.getenv("ONEBUF_PORT", 443)),
)
transport = Transport(pool, tls_context(ca), os.getenv("ONEBUF_ADDRESS", ""))
client = Client(transport, bytearray(1024), watson.host, watson.port)
Publisher(client, watson).publish(b'{"temperature":21.5}')  # raises NotNow or Refused
print("published")
client.close()
