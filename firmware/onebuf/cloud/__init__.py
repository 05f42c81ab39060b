"""The clouds. Each module is passive: it writes heads and judges replies, and it knows no socket.

The contract, which tests/device/checks.py checks:

    host, port            where to connect
    max_payload           octets that one publish may carry
    refresh(head, now)    write the head of the next publishes to head, an http1.Request; now is
                          Unix time in seconds, or 0 where no clock is set. Returns the seconds
                          that the head is good for, 0: for ever
    outcome(reply)        judge an http1.Response: outcome.ACCEPTED, RETRY, REAUTH or REJECTED
"""
