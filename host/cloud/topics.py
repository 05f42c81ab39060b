"""MQTT topic filters, as policies name them (MQTT 3.1.1 section 4.7)."""

from __future__ import annotations


def check_filter(topic_filter: str) -> None:
    """Raise ValueError unless + and # each fill a level and # is the last one."""
    levels = topic_filter.split("/")
    for at, level in enumerate(levels):
        alone = level in ("+", "#") or not set(level) & set("+#")
        if not topic_filter or not alone or (level == "#" and at != len(levels) - 1):
            raise ValueError(f"topic filter {topic_filter!r}: + or # is not a level of its own")


def matches(topic_filter: str, topic: str) -> bool:
    """Say whether `topic` falls under `topic_filter`; `a/#` includes `a` itself.

    A wildcard in the first level does not reach topics that start with $ (section 4.7.2).
    """
    wanted, have = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        wanted.pop()
        have = have[: len(wanted)]
    return len(wanted) == len(have) and all(
        level in ("+", name) for level, name in zip(wanted, have, strict=True)
    )
