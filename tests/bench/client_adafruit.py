"""adafruit_requests with its connection manager, over our socketpool."""

import adafruit_requests
from load import BODY, HOST, TOPIC, ca
from socketpool import SocketPool, Verifying

url = session = None
headers = {"Content-Type": "application/json"}


def wire(port, secure):
    global url, session
    url = "%s://%s:%d/topics/%s?qos=1" % ("https" if secure else "http", HOST, port, TOPIC)
    session = adafruit_requests.Session(SocketPool(), Verifying(ca()) if secure else None)


def publish():
    response = session.post(url, data=BODY, headers=headers)
    response.content
    response.close()
    return response.status_code
