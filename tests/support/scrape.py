"""What Prometheus reads of an answer to a scrape."""

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[str, ...]], float]
"""By name and the values of the labels, in the order of the labels' names."""


def samples(text: str) -> Samples:
    """Parse the text format."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
