"""What the negative results mean. Import it to show them; nothing else on the device needs it.

The numbers are Linux's, whatever the runtime's own errno says, so that a log from the field reads
the same everywhere. Below -255 stand the numbers of mbedTLS, as MicroPython raises them.
"""

_TEXT = """\
2 ENOENT: the response has no such field; or there is no such file
5 EIO: flash or card failed, or the runtime did not say what went wrong
6 ENXIO: the host name has no address (DNS)
7 E2BIG: the payload is longer than the cloud, or the buffer, takes
12 ENOMEM: no memory for the connection
13 EACCES: the server refused our certificate, or our login; or FAT: a full folder
28 ENOSPC: the file system is full
30 EROFS: no writes: mounted to read only (CircuitPython: USB has it, see storage.remount)
32 EPIPE: the server closed the connection while we sent
61 ENODATA: the server closed in the middle of the response
64 ENONET: no Wi-Fi access point of that name
71 EPROTO: the response is not HTTP/1.1
84 EILSEQ: the file system is damaged
90 EMSGSIZE: the response does not fit into the buffer, or passes a limit
99 EADDRNOTAVAIL: the Wi-Fi gave us no address (DHCP)
101 ENETUNREACH: no network
104 ECONNRESET: the server broke the connection off
107 ENOTCONN: no request is under way
108 ESHUTDOWN: the server closed its side
110 ETIMEDOUT: the time was up
111 ECONNREFUSED: nothing listens at that address and port
113 EHOSTUNREACH: no way to that address
125 ECANCELED: the sink gave up
126 ENOKEY: the Wi-Fi access point does not take the key
127 EKEYEXPIRED: the server's certificate is not valid now: expired, or the clock is wrong
129 EKEYREJECTED: the server's certificate is not this host's or not signed by the CA
"""


def strerror(result: int) -> str:
    """The name and meaning of a result of Client or Response, or of an error of FlashQueue.

    A status is returned as it is.
    """
    for line in _TEXT.split("\n"):
        if line.startswith("%d " % -result):
            return line[line.find(" ") + 1 :]
    if result < -255:
        return "mbedTLS error -0x%04X" % -result
    return "status %d" % result if result >= 0 else "errno %d" % -result
