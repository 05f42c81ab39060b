"""Azure's provisioning service: register, poll, and what each answer means (PROTOCOLS.md 3.1)."""

import json
import os
import random

from checks import raises
from onebuf.client import Client
from onebuf.provision import azure_dps
from onebuf.provision.azure_dps import DPS, HOST, ProvisioningError, derived_key
from script_transport import REQUEST, SILENCE, ScriptTransport
from test_cloud_azure import EXPIRY, KEY, Clock

SCOPE = "0ne00111111"
DEVICE = "my-x509-device"
OPERATION = "5.506603669bd3e2bf.b3602f8f-76fe-4341-9214-bb6cfb891b8a"
GROUP_KEY = (
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
)
FILE = "/tmp/onebuf-dps-%08x.json" % random.getrandbits(32)  # several runs share the machine
_EMSGSIZE = -90
_ECONNREFUSED = -111
_ETIMEDOUT = -110
_ECANCELED = -125
_EKEYEXPIRED = -127


def answer(status, content, fields="", pieces=1):
    """Return the octets of an answer as the service gives it: with its fields, and in chunks."""
    if not isinstance(content, (str, bytes)):
        content = json.dumps(content)
    octets = content.encode() if isinstance(content, str) else content
    head = (
        "HTTP/1.1 %d Any\r\n"
        "Date: Sat, 27 Aug 2022 18:10:49 GMT\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        "Transfer-Encoding: chunked\r\n"
        "%s"
        "x-ms-request-id: 8f211bc5-3ed8-4c8b-9a79-e003e756e9e4\r\n"
        "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"
        "\r\n"
    )
    whole = (head % (status, fields)).encode()
    step = len(octets) // pieces + 1
    for a in range(0, len(octets), step):
        part = octets[a : a + step]
        whole += b"%x\r\n%s\r\n" % (len(part), part)
    return whole + b"0\r\n\r\n"


def assigning(retry_after="Retry-After: 3\r\n", status="assigning"):
    location = "Location: https://" + HOST + "/" + SCOPE + "/registrations/" + DEVICE + "/register"
    content = {"operationId": OPERATION, "status": status}
    return answer(202, content, location + "\r\n" + retry_after)


def final(**state):
    content = {"operationId": OPERATION, "status": state["status"], "registrationState": state}
    return answer(200, content, "", 3)


def assigned(**more):
    """The answer of the documentation, which is the longest one."""
    return final(
        x509={},
        registrationId=DEVICE,
        createdDateTimeUtc="2022-08-27T17:53:19.5143497Z",
        assignedHub="MyExampleHub.azure-devices.net",
        deviceId=DEVICE,
        status="assigned",
        substatus="initialAssignment",
        lastUpdatedDateTimeUtc="2022-08-27T17:53:19.7519141Z",
        etag="IjEyMDA4NmYyLTAwMDAtMDMwMC0wMDAwLTYzMGE1YTBmMDAwMCI=",
        **more,
    )


ASSIGNMENT = {"hub": "MyExampleHub.azure-devices.net", "device_id": DEVICE}


def error(status, code, message="Unauthorized", fields=""):
    """An error as the service words it."""
    trace = "5c3f1b0a-7d11-4c5e-8b0f-aa3c0f5f2d3e"
    content = {"errorCode": code, "trackingId": trace, "message": message}
    content["timestampUtc"] = "2022-08-27T18:10:49.7519141Z"
    return answer(status, content, "x-ms-error-code: %d\r\n%s" % (code, fields))


def client(*answers, size=1024):
    events = []
    for each in answers:
        events += [REQUEST, each]
    return Client(ScriptTransport(events), bytearray(size), HOST, 443)


def register(*answers, **options):
    """Return (the assignment, the scripted transport)."""
    c = client(*answers)
    return DPS(c, SCOPE, DEVICE, **options).register(), c.transport


def refusal(*answers, **options):
    """Return (the error's text, code and again, the scripted transport)."""
    c = client(*answers)
    e = raises(ProvisioningError, DPS(c, SCOPE, DEVICE, **options).register)
    return str(e), e.code, e.again, c.transport


def requests(transport):
    """Return the request lines, without version."""
    heads = bytes(transport.sent).split(b" HTTP/1.1\r\n")[:-1]
    return [head[max(head.rfind(b"PUT /"), head.rfind(b"GET /")) :].decode() for head in heads]


PUT = "PUT /0ne00111111/registrations/my-x509-device/register?api-version=2021-06-01"
GET = (
    "GET /0ne00111111/registrations/my-x509-device/operations/" + OPERATION
) + "?api-version=2021-06-01"


# -- What is sent ---------------------------------------------------------------------------------


def test_with_a_certificate_the_requests_are_exactly_these():
    found, transport = register(assigning(), assigned())
    assert found == ASSIGNMENT
    assert bytes(transport.sent) == (
        b"PUT /0ne00111111/registrations/my-x509-device/register?api-version=2021-06-01 HTTP/1.1"
        b"\r\n"
        b"Host: global.azure-devices-provisioning.net\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length:      36\r\n"
        b"\r\n"
        b'{"registrationId": "my-x509-device"}'
        b"GET /0ne00111111/registrations/my-x509-device/operations/"
        b"5.506603669bd3e2bf.b3602f8f-76fe-4341-9214-bb6cfb891b8a?api-version=2021-06-01 HTTP/1.1"
        b"\r\n"
        b"Host: global.azure-devices-provisioning.net\r\n"
        b"Content-Type: application/json\r\n"
        b"\r\n"
    )


def test_with_a_key_each_request_has_the_token_that_the_sdk_makes():
    transport = register(assigning(), assigned(), key=KEY, clock=Clock(EXPIRY - 3600))[1]
    token = (
        b"\r\nAuthorization: SharedAccessSignature"
        b" sr=0ne00111111%2Fregistrations%2Fmy-x509-device"
        b"&sig=Xw%2BBd9mm1TUiXt78vHvaC2TQdNeKWBwg%2BNmVJ4VQpuw%3D&se=1735736400"
        b"&skn=registration\r\n"
    )
    assert len(bytes(transport.sent).split(token)) == 3


def test_special_characters_of_an_id_are_escaped_where_they_have_to_be():
    c = client(assigned())
    key = (
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
    )
    DPS(c, SCOPE, "SN-007:888.abc_MAC", key, clock=Clock(EXPIRY - 3600)).register()
    sent = bytes(c.transport.sent)
    assert sent.startswith(b"PUT /0ne00111111/registrations/sn-007:888.abc_mac/register?")
    assert (
        b"SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fsn-007%3A888.abc_mac"
        b"&sig=wm6FVm%2B4LKYjixHBnOGHvyScgWzdZcmcKNkqxYexozA%3D&se=1735736400&skn=registration"
    ) in sent
    assert sent.endswith(b'{"registrationId": "sn-007:888.abc_mac"}')


def test_the_payload_for_custom_allocation_is_in_the_body():
    for payload in ({"model": "a"}, "text", 0, [], False):
        transport = register(assigned(), payload=payload)[1]
        sent = bytes(transport.sent)
        body = json.loads(sent[sent.find(b"\r\n\r\n") + 4 :])
        assert body == {"registrationId": DEVICE, "payload": payload}


def test_a_key_of_a_group_gives_each_device_its_own():
    for registration_id, key in (
        ("sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6", "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="),
        ("SN-007-888-ABC-MAC-A1-B2-C3-D4-E5-F6", "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="),
        ("device-01", "rhS7tGJBtU5v4HDuCxeEFvQQH3MX5UlnfDqYyP6NWL0="),
    ):
        assert derived_key(GROUP_KEY, registration_id) == key
    c = client(assigned())
    key = derived_key(GROUP_KEY, "Device-01")
    DPS(c, SCOPE, "Device-01", key, clock=Clock(EXPIRY - 3600)).register()
    assert b"&sig=y23Q2SVzQMZHCVVtD028FtfT8HcqsEKm2uF4ik7sLgY%3D&" in bytes(c.transport.sent)


# -- What is refused before anything is sent ------------------------------------------------------


def test_registration_ids_are_lower_cased_and_checked():
    for text in ("a", "0", "-", "A.b_c:d-", "x" * 128):
        DPS(client(), SCOPE, text)
    for text in ("", "a.", "a_", "a:", "x" * 129, "a b", "a/b", "a~b", "a\r\n", "\u00e9", "a%"):
        raises(ValueError, DPS, client(), SCOPE, text)


def test_a_key_without_a_clock_is_refused():
    raises(ValueError, DPS, client(), SCOPE, DEVICE, KEY)


def test_a_scope_that_would_split_the_head_is_refused_before_anything_is_sent():
    c = client(assigned())
    raises(ValueError, DPS(c, "0ne\r\nX: y", DEVICE).register)
    assert not c.transport.sent


def test_what_is_no_key_is_refused_before_anything_is_sent_and_not_shown():
    for key in ("AAAA", "QUFB" * 22):
        c = client(assigned())
        e = raises(ValueError, DPS(c, SCOPE, DEVICE, key, None, Clock(EXPIRY)).register)
        assert key not in str(e) and not c.transport.sent


# -- Waiting --------------------------------------------------------------------------------------


def test_the_operation_is_polled_as_often_as_retry_after_says():
    found, transport = register(
        assigning(),
        assigning("Retry-After: 7\r\n"),
        assigning("Retry-After: 0\r\n"),
        assigning(""),
        assigning("Retry-After: soon\r\n"),
        assigned(),
    )
    assert found == ASSIGNMENT
    assert requests(transport) == [PUT] + [GET] * 5
    assert transport.sleeps == [3000, 7000, 2000, 2000, 2000]
    assert transport.connects == 1


def test_a_service_that_bids_to_wait_for_long_is_left_and_says_how_long():
    for waits, wait_s in ((("86400",), 86400), (("60", "60", "2"), 2), (("999999",), 86400)):
        answers = [assigning("Retry-After: %s\r\n" % wait) for wait in waits]
        e = raises(ProvisioningError, lambda: register(*answers, assigned()))
        assert e.again and e.wait_s == wait_s
    c = client(error(429, 429001, "not now", "Retry-After: 600\r\n"))
    e = raises(ProvisioningError, DPS(c, SCOPE, DEVICE).register)
    assert (e.code, e.again, e.wait_s) == (429001, True, 600)
    for reply in (error(401, 401002), final(status="failed"), SILENCE):
        assert raises(ProvisioningError, lambda: register(reply)).wait_s == 0


def test_an_answer_at_once_is_taken():
    found, transport = register(assigned())
    assert found == ASSIGNMENT and requests(transport) == [PUT] and transport.sleeps == []


def test_unassigned_is_not_yet_assigned():
    found, transport = register(assigning(status="unassigned"), assigned())
    assert found == ASSIGNMENT and requests(transport) == [PUT, GET]


def test_an_answer_without_an_operation_leaves_the_request_as_it_is():
    bare = answer(202, {"status": "assigning"})
    assert requests(register(bare, assigning(), bare, assigned())[1]) == [PUT, PUT, GET, GET]


def test_an_operation_with_characters_that_a_path_has_not_is_encoded():
    odd = answer(202, {"operationId": "a b/\r\n?", "status": "assigning"})
    path = PUT.replace("PUT", "GET").replace("/register?", "/operations/a%20b%2F%0D%0A%3F?")
    assert requests(register(odd, assigned())[1]) == [PUT, path]


def test_throttling_and_server_errors_are_waited_out():
    for status, code in ((429, 429001), (500, 500001), (503, 503001)):
        found, transport = register(
            error(status, code, "not now", "Retry-After: 5\r\n"),
            assigning(),
            error(status, code, "not now", ""),
            assigned(),
        )
        assert found == ASSIGNMENT and requests(transport) == [PUT, PUT, GET, GET]
        assert transport.sleeps == [5000, 3000, 2000]


def test_waiting_has_an_end():
    text, code, again, transport = refusal(*[assigning()] * 41)
    assert (text, code, again) == ("202 assigning", 202, True)
    assert len(requests(transport)) == 40 and sum(transport.sleeps) == 120000
    text, code, again, transport = refusal(*[error(429, 429001, "Too many requests")] * 41)
    assert (text, code, again) == ("429 Too many requests", 429001, True)
    assert len(requests(transport)) == 40


# -- What the service refuses ---------------------------------------------------------------------


def test_a_disabled_enrolment_is_an_error_that_lasts():
    state = {"registrationId": DEVICE, "status": "disabled"}
    content = {"operationId": "", "status": "disabled", "registrationState": state}
    assert refusal(answer(200, content))[1:3] == (200, False)
    assert refusal(assigning(), answer(200, content))[0] == "disabled"


def test_a_failed_assignment_says_why():
    for code, message in (
        (400207, "Custom allocation failed with status code: 404"),
        (400208, "No IoT hub is linked"),
        (400209, "IoT hub unauthorized"),
    ):
        failed = final(errorCode=code, errorMessage=message, status="failed")
        assert refusal(assigning(), failed)[:3] == ("failed " + message, code, False)


def test_every_documented_error_is_one_with_its_code():
    for status, code, again in (
        (400, 400004, False),
        (401, 401002, False),
        (404, 404002, False),
        (404, 404201, False),
        (405, 405000, False),
        (409, 409001, False),
        (412, 412001, False),
        (415, 415000, False),
    ):
        for answers in ((error(status, code),), (assigning(), error(status, code))):
            text, found, later, transport = refusal(*answers)
            assert (text, found, later) == ("%d Unauthorized" % status, code, again)
            assert len(requests(transport)) == len(answers)


def test_an_error_without_the_documented_content_is_one_of_its_status():
    for content in ("", "<html>", "[]", "null", "{}", b"\xff\xfe", '{"errorCode":', "7"):
        text, code, again, _ = refusal(answer(404, content))
        assert text == "404" and (code, again) == (404, False)


def test_an_assignment_without_the_documented_content_is_an_error_that_may_pass():
    for content in (
        "",
        "rubbish",
        '{"status":"assign',
        "[]",
        {},
        {"status": "assigned"},
        {"status": "assigned", "registrationState": []},
        {"status": "assigned", "registrationState": {"assignedHub": "h"}},
        {"status": "assigned", "registrationState": {"deviceId": "d"}},
        {"status": "assigned", "registrationState": {"deviceId": "d", "assignedHub": ""}},
        {"status": 7},
    ):
        for status in (200, 202):
            assert refusal(answer(status, content))[1:3] == (200, True)


def test_no_answer_is_an_error_that_may_pass():
    assert refusal(SILENCE)[:3] == ("-110", _ETIMEDOUT, True)
    c = Client(ScriptTransport(), bytearray(1024), HOST, 443)
    e = raises(ProvisioningError, DPS(c, SCOPE, DEVICE).register)
    assert (e.code, e.again) == (_ECONNREFUSED, True)
    assert refusal(assigning(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", -104)[2]


# -- The clock ------------------------------------------------------------------------------------


def expiries(transport):
    parts = bytes(transport.sent).split(b"&se=")[1:]
    return [int(part[: part.find(b"&")]) for part in parts]


def test_a_clock_that_is_off_is_corrected_and_the_request_repeated_once():
    clock = Clock(EXPIRY - 1200, right=EXPIRY)
    answers = (error(401, 401002), assigning(), assigned())
    found, transport = register(*answers, key=KEY, clock=clock)
    assert found == ASSIGNMENT and requests(transport) == [PUT, PUT, GET]
    assert expiries(transport) == [EXPIRY + 2400, EXPIRY + 3600, EXPIRY + 3600]
    assert transport.sleeps == [3000]


def test_a_wrong_key_is_refused_once_if_the_clock_is_right():
    _, code, again, transport = refusal(error(401, 401002), key=KEY, clock=Clock(EXPIRY))
    assert (code, again) == (401002, False) and requests(transport) == [PUT]


def test_a_certificate_of_the_service_that_is_not_valid_yet_corrects_the_clock():
    c = client(assigned())
    c.transport.dialling[:] = [_EKEYEXPIRED]
    assert DPS(c, SCOPE, DEVICE, clock=Clock(EXPIRY, right=1)).register() == ASSIGNMENT
    assert c.transport.dials == 2


def test_a_clock_that_jumps_for_ever_is_not_followed_for_ever():
    clock = Clock(EXPIRY)
    clock.correct = lambda result, reply: True
    transport = refusal(*[error(401, 401002)] * 41, key=KEY, clock=clock)[3]
    assert len(requests(transport)) == 40


# -- The buffer -----------------------------------------------------------------------------------


def test_a_buffer_of_1_kib_is_enough_for_ids_of_64_characters():
    long_id = "x" * 63 + "y"
    location = "Location: https://%s/%s/registrations/%s/register\r\n" % (HOST, SCOPE, long_id)
    wait = answer(202, {"operationId": OPERATION, "status": "assigning"}, location)
    for options in ({}, {"key": KEY, "clock": Clock(EXPIRY)}):
        c = client(wait, assigned())
        assert DPS(c, SCOPE, long_id, **options).register() == ASSIGNMENT


def test_an_answer_longer_than_the_buffer_is_read_all_the_same():
    payload = {"settings": "x" * 2000}
    assert register(assigning(), assigned(payload=payload))[0] == ASSIGNMENT


def test_an_answer_without_bounds_is_an_error_that_lasts():
    assert refusal(assigned(payload="x" * 4096))[1:3] == (_ECANCELED, False)


def test_a_buffer_too_small_for_the_head_of_an_answer_is_an_error_that_lasts():
    e = raises(ProvisioningError, DPS(client(assigning(), size=300), SCOPE, DEVICE).register)
    assert (e.code, e.again) == (_EMSGSIZE, False)


# -- The file -------------------------------------------------------------------------------------


def written(octets):
    with open(FILE, "wb") as file:
        file.write(octets)
    return azure_dps.load(FILE)


def test_an_assignment_is_kept_in_a_file_until_it_is_forgotten():
    try:
        azure_dps.save(FILE, ASSIGNMENT)
        assert azure_dps.load(FILE) == ASSIGNMENT
        azure_dps.save(FILE, None)
        assert azure_dps.load(FILE) is None
    finally:
        os.remove(FILE)
    assert azure_dps.load(FILE) is None


def test_a_file_that_a_power_cut_left_half_written_counts_for_nothing():
    whole = json.dumps(ASSIGNMENT).encode()
    try:
        for n in range(len(whole)):
            assert written(whole[:n]) is None
        assert written(whole) == ASSIGNMENT
        for octets in (b"\xff\xff\xff", b"\0" * 40, b"[]", b"7", b"{}", b'{"hub": ""}'):
            assert written(octets) is None
    finally:
        os.remove(FILE)


def test_an_assignment_that_no_hub_or_device_can_have_is_malformed_and_worth_another_try():
    for state in (
        {"assignedHub": 5, "deviceId": "d"},
        {"assignedHub": ["h"], "deviceId": "d"},
        {"assignedHub": "h:443", "deviceId": "d"},
        {"assignedHub": "h/x", "deviceId": "d"},
        {"assignedHub": "h\r\nX: y", "deviceId": "d"},
        {"assignedHub": "h", "deviceId": ["d"]},
        {"assignedHub": "h", "deviceId": " "},
        {"assignedHub": "h", "deviceId": "d" * 129},
        {"assignedHub": "h"},
    ):
        reply = answer(200, {"status": "assigned", "registrationState": state})
        e = raises(ProvisioningError, lambda: register(reply))
        assert e.again


def test_an_operation_with_an_endless_name_is_not_asked_for():
    long = answer(202, {"status": "assigning", "operationId": "o" * 900})
    assert requests(register(long, assigned())[1]) == [PUT, PUT]


def test_a_file_without_hub_or_device_is_no_assignment():
    for text in ('{"hub":"h"}', '{"device_id":"d"}', '{"hub":5,"device_id":"d"}', "[]", "5"):
        with open(FILE, "w") as file:
            file.write(text)
        assert azure_dps.load(FILE) is None
    os.remove(FILE)
