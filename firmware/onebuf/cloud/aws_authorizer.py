"""AWS IoT Core with a custom authorizer ("Custom authentication"), on port 443."""

from onebuf.cloud import aws


class AWSAuthorizer(aws.AWS):
    def __init__(
        self, endpoint, topic, authorizer, token_key, token, signature="", qos=1, port=443
    ):
        """authorizer: its name; token goes into the field named token_key, and signature is over
        it, base64, where the authorizer has signing enabled. ValueError: not what AWS IoT takes.
        """
        super().__init__(endpoint, topic, qos, port)
        if not (0 < len(authorizer) <= 128 and token_key and 0 < len(token) <= 6144):
            raise ValueError("authorizer: 1 to 128 characters; token_key; token: 1 to 6144")
        self._fields = (
            (b"x-amz-customauthorizer-name", authorizer.encode()),
            (b"x-amz-customauthorizer-signature", signature.encode()),
            (token_key.encode(), token.encode()),
        )

    def start(self, head, method, path, now):
        super().start(head, method, path, now)
        for name, value in self._fields:
            if value:
                head.field(name, value)


CLOUD = AWSAuthorizer
