"""The published figures are those of the bundles."""

from bench import results


def test_the_page_of_results_is_what_the_bundles_say():
    assert results.TARGET.read_text("utf-8") == results.page(), "run: python -m bench.results"
