"""What config.json may say: main.py reads it with this module.

ValueError has one line for a person. It repeats no value but a file's name: it may be a secret.
"""

import json
import os
import sys

_KINDS = (
    ("a text", str, ("cloud", "address", "ca", "key", "alpn")),
    ("a text or a list of texts", (str, list), ("cert",)),
    ("an object", dict, ("settings", "queue", "dead_letters", "wifi", "clock", "dps", "sleep")),
    ("true or false", bool, ("tls", "heap_lock")),
    (
        "a whole number, 0 or more",
        int,
        ("buffer", "period_ms", "readings", "budget_ms", "watchdog_ms"),
    ),
)


def read(path):
    """The settings in that file; then this module's RAM is free again."""
    try:
        with open(path) as file:
            config = json.load(file)
    except OSError as e:
        raise ValueError(str(e))
    finally:
        del sys.modules[__name__]
    if not isinstance(config, dict):
        raise ValueError("an object is wanted")
    for name in config:
        check(name, config[name])
    aws = config.get("cloud", "aws") == "aws"
    if aws and config.get("settings", {}).get("port") == 443 and "alpn" not in config:
        raise ValueError("alpn: on port 443 AWS IoT wants x-amzn-http-ca; 8443 needs none")
    if not isinstance(config.get("clock", {}).get("servers", []), list):
        raise ValueError("clock: servers: wants a list")  # each letter would be asked as a server
    for name in files(config):
        try:
            os.stat(name)
        except OSError as e:
            raise ValueError("%s: %s" % (name, e))
    return config


def files(config):
    """The names of the files with certificates and key; ValueError: a setting is missing."""
    wanted = ["ca"] if config.get("tls", True) else []
    if wanted and "key" in config:
        wanted += ["cert", "key"]
    for name in ["settings"] + wanted:
        if name not in config:
            raise ValueError("%s: missing" % name)
    names: list = []
    for name in wanted:
        names += [config[name]] if isinstance(config[name], str) else config[name]
    return names


def check(name, value):
    """ValueError: there is no such setting, or its value is of another type."""
    for words, kind, names in _KINDS:
        if name in names:
            negative = isinstance(value, int) and value < 0
            mixed = isinstance(value, list) and not all(isinstance(each, str) for each in value)
            if isinstance(value, kind) and not negative and not mixed:
                return
            raise ValueError("%s: wants %s" % (name, words))
    raise ValueError("%s: there is no such setting" % name)
