"""One reading to Alibaba Cloud IoT Platform with a device secret, out of settings.toml."""

import os

import adafruit_connection_manager
import wifi
from onebuf.client import Client
from onebuf.cloud.aliyun import Aliyun
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

aliyun = Aliyun(
    os.getenv("ONEBUF_PRODUCT_KEY", ""),
    os.getenv("ONEBUF_DEVICE_NAME", ""),
    os.getenv("ONEBUF_DEVICE_SECRET", ""),
    os.getenv("ONEBUF_TOPIC", ""),
    signmethod="hmacsha256",  # or hmacsha1: CircuitPython has no md5
    port=int(os.getenv("ONEBUF_PORT", 443)),
)
transport = Transport(pool, tls_context(ca), os.getenv("ONEBUF_ADDRESS", ""))
client = Client(transport, bytearray(1024), aliyun.host, aliyun.port)
Publisher(client, aliyun).publish(b'{"temperature":21.5}')  # raises NotNow or Refused
print("published")
client.close()
