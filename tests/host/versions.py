"""The emulated AWS IoT with exactly one version of TLS: boards speak 1.2, computers 1.3."""

from __future__ import annotations

import ssl

from host.cloud.aws import AWSCloud


class OnlyTLS12(AWSCloud):
    """The endpoint with TLS 1.2 alone."""

    version = ssl.TLSVersion.TLSv1_2

    def tls(self) -> ssl.SSLContext:
        context = super().tls()
        context.minimum_version = context.maximum_version = self.version
        return context


class OnlyTLS13(OnlyTLS12):
    """The endpoint with TLS 1.3 alone."""

    version = ssl.TLSVersion.TLSv1_3


CLOUDS = {"TLS-1.2": OnlyTLS12, "TLS-1.3": OnlyTLS13}
