"""The same reading to AWS IoT with adafruit_requests and with onebuf: one pool, one context."""

import os

import adafruit_connection_manager
import adafruit_requests
import wifi
from onebuf.client import Client
from onebuf.cloud.aws import AWS
from onebuf.port.circuitpython import Transport
from onebuf.publish import Publisher

radio = wifi.radio
if not radio.connected:
    ssid = os.getenv("CIRCUITPY_WIFI_SSID", "")
    radio.connect(ssid, os.getenv("CIRCUITPY_WIFI_PASSWORD", ""))
pool = adafruit_connection_manager.get_radio_socketpool(radio)
ssl_context = adafruit_connection_manager.get_radio_ssl_context(radio)
if os.getenv("ONEBUF_CA"):
    with open(os.getenv("ONEBUF_CA", "")) as file:
        ssl_context.load_verify_locations(cadata=file.read())
ssl_context.load_cert_chain(os.getenv("ONEBUF_CERT", ""), os.getenv("ONEBUF_CERT_KEY", ""))

endpoint = os.getenv("ONEBUF_ENDPOINT", "")
topic = os.getenv("ONEBUF_TOPIC", "")
port = int(os.getenv("ONEBUF_PORT", 8443))
reading = b'{"temperature":21.5}'

# As it was.
requests = adafruit_requests.Session(pool, ssl_context)
url = "https://%s:%d/topics/%s?qos=1" % (endpoint, port, topic.replace("/", "%2F"))
with requests.post(url, data=reading, timeout=30) as response:
    print("adafruit_requests:", response.status_code)
adafruit_connection_manager.connection_manager_close_all(pool)  # ESP32 has RAM for two of them

# As it is. The head is written once; what a publish takes of the heap is in the port's docstring.
aws = AWS(endpoint, topic, port=port)
client = Client(Transport(pool, ssl_context), bytearray(1024), aws.host, aws.port)
publisher = Publisher(client, aws)
publisher.publish(reading, timeout_ms=30000)  # raises NotNow: try again; Refused: never
print("onebuf:", publisher.result)
client.close()
