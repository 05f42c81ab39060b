"""How a device shows the Device Provisioning Service that it is the one of an enrolment.

X.509 by its TLS certificate, symmetric keys by a shared access signature (PROTOCOLS 3.2, 3.3).
"""

from __future__ import annotations

from host.cloud import azure_x509, sas
from host.cloud.azure_registry import CERTIFICATE, DPS, KEY, Enrollment, Registry
from host.cloud.azure_request import UNAUTHORIZED, Refused
from host.cloud.http import Call

_NOT_ENROLLED = 404201


class Attestation:
    """Judges the callers of one DPS instance."""

    def __init__(self, registry: Registry, id_scope: str) -> None:
        self._registry = registry
        self._id_scope = id_scope

    def check(self, call: Call, registration_id: str) -> tuple[Enrollment, bytes]:
        """Return the enrolment and the certificate or key that the device has shown.

        Refused with 404 where nothing is enrolled that could fit, else with 401.
        """
        authorization = call.fields.get("Authorization")
        if authorization is None and call.certificate is None:
            raise Refused(UNAUTHORIZED, "Unauthorized")
        kind = CERTIFICATE if authorization is None else KEY
        found = self._registry.enrollment(registration_id)
        if found is None or found.grouped:
            candidates = [group for group in self._registry.groups() if group.kind == kind]
        else:
            candidates = [found]
        lone = authorization is None and azure_x509.is_self_signed(call.chain[0])
        if not candidates or (lone and candidates[0].grouped):
            raise Refused(_NOT_ENROLLED, "Enrollment not found")
        if candidates[0].kind != kind:
            raise Refused(UNAUTHORIZED, "Unauthorized")
        if authorization is None:
            return self._by_certificate(call, registration_id, candidates)
        return self._by_key(call, authorization, registration_id, candidates)

    def _by_key(
        self, call: Call, authorization: str, registration_id: str, candidates: list[Enrollment]
    ) -> tuple[Enrollment, bytes]:
        resource = f"{self._id_scope}/registrations/{registration_id}"
        try:
            token = sas.parse(authorization)
            token.check_time(call.now)
        except sas.SasError:
            raise Refused(UNAUTHORIZED, "Unauthorized") from None
        if token.key_name == "registration" and token.resource.lower() == resource.lower():
            for one in candidates:
                key = one.material
                if one.grouped:
                    key = sas.derived_key(key, registration_id)
                if token.signed_by(key):
                    return one, key
        raise Refused(UNAUTHORIZED, "Unauthorized")

    def _by_certificate(
        self, call: Call, registration_id: str, candidates: list[Enrollment]
    ) -> tuple[Enrollment, bytes]:
        leaf = call.chain[0]
        try:
            if azure_x509.common_name(leaf).lower() != registration_id:
                raise azure_x509.CertificateError("the common name is not the registration ID")
            azure_x509.check_use(leaf, call.now)
        except azure_x509.CertificateError:
            raise Refused(UNAUTHORIZED, "Invalid certificate.") from None
        grouped = candidates[0].grouped
        for one in candidates:
            if self._in_group(call, one) if grouped else self._is_own(call, one):
                return one, leaf
        missing = grouped or candidates[0].material == leaf
        message = "CA certificate not found." if missing else "Invalid certificate."
        raise Refused(UNAUTHORIZED, message)

    def _is_own(self, call: Call, enrollment: Enrollment) -> bool:
        leaf = call.chain[0]
        if enrollment.material != leaf:
            return False
        return azure_x509.is_self_signed(leaf) or self._leads_to_verified(call, leaf)

    def _in_group(self, call: Call, group: Enrollment) -> bool:
        """Say whether the chain that was sent has the group's certificate and a verified one."""
        leaf, *above = call.chain
        if group.material not in above:
            return False
        if not azure_x509.leads(leaf, above, [group.material], call.now):
            return False
        return self._leads_to_verified(call, group.material)

    def _leads_to_verified(self, call: Call, certificate: bytes) -> bool:
        above = call.chain[1:]
        verified = [one for one in self._registry.authorities(DPS) if one in above]
        return azure_x509.leads(certificate, above, verified, call.now)
