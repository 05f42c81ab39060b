"""AWS IoT Core with a custom authorizer ("Custom authentication"), on port 443."""

from onebuf.cloud import aws


class AWSAuthorizer(aws.AWS):
    def __init__(
        self, endpoint, topic, authorizer, token_key, token, signature="", qos=1, port=443
    ):
        """authorizer: its name, 1 to 128 of A-Z a-z 0-9 _ = , @ -; token, of at most 6144
        characters, goes into the field named token_key; signature, of at most 2560, is over it, in
        base64, where the authorizer has signing enabled. ValueError: not what AWS IoT takes.
        """
        super().__init__(endpoint, topic, qos, port)
        name = authorizer.encode()
        good = 0 < len(name) <= 128 and 0 < len(token) <= 6144 and len(signature) <= 2560
        for c in name:
            c = bytes((c,))
            good &= c.isalpha() or c.isdigit() or c in b"_=,@-"
        if not good or not token_key:
            raise ValueError("authorizer, token_key, token or signature")
        self._fields = (
            (b"x-amz-customauthorizer-name", name),
            (b"x-amz-customauthorizer-signature", signature.encode()),
            (token_key.encode(), token.encode()),
        )

    def start(self, head, method, path, now):
        super().start(head, method, path, now)
        for name, value in self._fields:
            if value:
                head.field(name, value)


CLOUD = AWSAuthorizer
