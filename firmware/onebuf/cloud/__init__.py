"""The clouds. Each module is passive: it writes heads and judges replies, and it knows no socket.

The contract, which tests/device/checks.py checks:

    host, port            where to connect
    max_payload           octets that one publish may carry
    refresh(head, now)    write the head of the next publishes to head, an http1.Request; now is
                          Unix time in seconds, or 0 where no clock is set. Returns the seconds
                          that the head is good for, 0: for ever
    outcome(reply)        judge an http1.Response: outcome.ACCEPTED, RETRY, REAUTH or REJECTED; of
                          one longer than the buffer the content is what has come of it. A cloud
                          that has codes of its own puts the reply's into reply.status
    login                 None; or octets, after a refresh() that wrote the head of a login: they
                          are its body, and outcome() is asked about its reply first. ACCEPTED, and
                          the next refresh() writes the head of publishes
    signs                 False; or each publish is signed, after refresh() and before it is sent:
    sign(head, buf, n, now)    buf[:n] is the body; of the head octets change, but not its length
    CLOUD                 the module's class, which main.py makes from config.json's settings
"""
