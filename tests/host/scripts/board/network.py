"""A board's module network: the file access_point holds the key that it takes.

Without that file there is no access point. The file brownout: the battery is too weak for the
radio, and the board is reset.
"""

import os
import sys

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202


class WLAN:
    IF_STA = 0

    def __init__(self, interface):
        self._status = STAT_IDLE

    def active(self, up):
        print("radio", "on" if up else "off")
        if up and "brownout" in os.listdir():
            sys.exit(4)

    def connect(self, ssid, key):
        try:
            with open("access_point") as file:
                right = file.read()
            self._status = STAT_GOT_IP if key == right else STAT_WRONG_PASSWORD
        except OSError:
            self._status = STAT_NO_AP_FOUND

    def disconnect(self):
        self._status = STAT_IDLE

    def isconnected(self):
        return self._status == STAT_GOT_IP

    def status(self, what=""):
        if what:
            raise OSError("Wifi Not Connected")
        return self._status


def hostname(name):
    pass
