"""One reading to Azure IoT Hub with a device key, out of settings.toml."""

import os

import adafruit_connection_manager
import wifi
from onebuf.client import Client
from onebuf.cloud.azure import Azure
from onebuf.port.circuitpython import Transport, tls_context
from onebuf.port.circuitpython_clock import Clock
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

servers = (os.getenv("ONEBUF_NTP", "pool.ntp.org"),)
clock = Clock(pool, servers, port=int(os.getenv("ONEBUF_NTP_PORT", 123)))
clock.sync()  # each token says until when it is good

azure = Azure(
    os.getenv("ONEBUF_HUB", ""),
    os.getenv("ONEBUF_DEVICE_ID", ""),
    os.getenv("ONEBUF_KEY"),
    port=int(os.getenv("ONEBUF_PORT", 443)),
)
transport = Transport(pool, tls_context(ca), os.getenv("ONEBUF_ADDRESS", ""))
client = Client(transport, bytearray(1024), azure.host, azure.port)
Publisher(client, azure, clock).publish(b'{"temperature":21.5}')  # raises NotNow or Refused
print("published")
client.close()
