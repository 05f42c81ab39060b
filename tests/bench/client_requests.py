"""micropython-lib's requests: a connection for each publish, whose server it cannot verify."""

import requests
from load import BODY, HOST, TOPIC

url = ""
headers = {"Content-Type": "application/json"}


def wire(port, secure):
    global url
    url = "%s://%s:%d/topics/%s?qos=1" % ("https" if secure else "http", HOST, port, TOPIC)


def publish():
    response = requests.post(url, data=BODY, headers=headers)
    response.content
    response.close()
    return response.status_code
