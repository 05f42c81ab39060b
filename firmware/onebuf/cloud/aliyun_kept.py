"""Alibaba Cloud with the token kept on flash, so that a reset or deep sleep costs no login.

The file has {product_key}/{device_name}, a space, and the token.
"""

from onebuf import outcome, span
from onebuf.cloud import aliyun


class KeptAliyun(aliyun.Aliyun):
    def __init__(self, *settings, token_file="token", **more):
        """token_file: its path. All else, and ValueError, as Aliyun."""
        super().__init__(*settings, **more)
        self._file = token_file
        self._owner = (self._ids["productKey"] + "/" + self._ids["deviceName"] + " ").encode()
        try:
            with open(token_file, "rb") as file:
                text = file.read()
        except OSError:
            return
        n = len(self._owner)
        if text.startswith(self._owner) and span.is_text(text, n, len(text)):
            self._token = text[n:]  # torn or spent: the platform says so, and a login follows

    def _logged_in(self, buf, at, e):
        judgement = super()._logged_in(buf, at, e)
        if judgement == outcome.ACCEPTED:
            try:
                with open(self._file, "wb") as file:
                    file.write(self._owner + self._token)
            except OSError:  # full, or read-only: the next start logs in
                pass
        return judgement


CLOUD = KeptAliyun
