"""A page of metrics as prometheus-client's parser reads it."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def samples(body: bytes) -> Iterator[Sample]:
    """Every sample of a page in the text format."""
    for family in text_string_to_metric_families(body.decode()):
        yield from family.samples


def series(body: bytes, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The samples of a name, by the values of these labels. Fails the test where two have the same."""
    found: dict[tuple[str, ...], float] = {}
    for sample in samples(body):
        if sample.name == name:
            values = tuple(sample.labels[label] for label in labels)
            assert values not in found, sample
            found[values] = sample.value
    return found
